"""What happens around the iterations, one kind of hook per file."""
