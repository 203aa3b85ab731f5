"""The tasks: classification (sections 2 to 5), detection and segmentation (section 6)."""
