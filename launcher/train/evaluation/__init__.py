"""Evaluating a model, with or without a training around it."""
