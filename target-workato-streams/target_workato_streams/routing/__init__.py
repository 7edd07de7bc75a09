"""Decides which topic a stream is published to, and creates topics."""
