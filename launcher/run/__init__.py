"""What will happen, and what did: paths, identity, plan, resume point, record, supervision. No torch."""
