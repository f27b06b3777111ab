"""Which samples a training sees, in which order, and how they are loaded."""
