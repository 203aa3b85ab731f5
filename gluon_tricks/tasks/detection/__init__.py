"""Faster-RCNN on VOC (section 6.1)."""
