"""Values for people: what is printed, and the same values as JSON. Decides nothing."""
