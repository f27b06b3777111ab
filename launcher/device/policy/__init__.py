"""Which devices a run gets and which settings change with them. Decides only."""
