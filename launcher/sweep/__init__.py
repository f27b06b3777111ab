"""Several runs of one command: which jobs there are, where each of them stands, and what of them is kept. No torch."""
