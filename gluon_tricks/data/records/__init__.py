"""The record files: their bytes, how they are written, certified, verified and recognised."""
