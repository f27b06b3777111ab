"""Several runs from one command. Empty so far: Hydra's own `-m` does it; a device pool and search will live here."""
