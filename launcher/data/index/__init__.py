"""Annotation files that are opened, not loaded: where each image's entries lie, kept beside what the checks found."""
