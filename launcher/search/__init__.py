"""The search: which jobs of a sweep come next, and which are not worth their end. No torch; optuna where it decides."""
