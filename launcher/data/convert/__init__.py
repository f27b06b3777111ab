"""Data sets in other formats, read into values and written in COCO's format. What cannot be carried over is counted."""
