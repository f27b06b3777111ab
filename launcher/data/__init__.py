"""What a run learns from: data set specs, checks, samples. No torch."""
