"""Runs as jobs of a Slurm cluster: the batch script, its submission, and what the scheduler says of them. No torch."""
