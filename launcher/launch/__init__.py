"""The launcher's side of one run: look, decide, claim, start, wait, learn, again. No torch."""
