"""Where numbers, logs and images of a training go."""
