"""Checkpoints that an older version wrote, one of each task, and the maker of them."""
