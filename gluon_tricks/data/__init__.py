"""Section 2.1: from image files to normalised batches."""
