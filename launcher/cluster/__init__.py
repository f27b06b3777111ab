"""What a scheduler told this job. Submission will live here too."""
