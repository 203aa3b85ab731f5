"""Weights in and out: for other frameworks, and for people who have this project's networks from a folder."""
