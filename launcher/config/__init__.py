"""What was asked: schema, composition, model zoo, checks. No torch."""
