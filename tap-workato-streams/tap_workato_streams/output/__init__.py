"""What goes to stdout, and in which order."""
