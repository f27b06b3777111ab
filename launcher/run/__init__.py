"""What the launcher and its worker share: plan, outcome, and the files of a run folder. No torch."""
