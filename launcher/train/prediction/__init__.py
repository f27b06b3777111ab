"""Predicting on image files: the worker of `launcher predict`, and `launcher.load`."""
