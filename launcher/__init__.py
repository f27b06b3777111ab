"""Train detectron2 models on whatever hardware is available."""

__version__ = "0.1.0"
