"""Reads the Singer messages on stdin and the files that they name."""
