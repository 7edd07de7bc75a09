"""What comes in on stdin."""
