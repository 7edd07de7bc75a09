"""Determines the topic of each stream, and creates missing topics."""
