"""Section 6: what a better classifier gives to detection and segmentation (tables 8 and 9)."""
