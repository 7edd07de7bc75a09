"""What goes to stdout, and in which order; what a run logs."""
