"""Bag of Tricks for Image Classification with Convolutional Neural Networks (He et al. 2018) on MXNet 1.9.1 and GluonCV."""

__version__ = '0.1.0'
