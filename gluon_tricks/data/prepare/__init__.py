"""Data sets, from official archives or a folder of images to what a training reads."""
