"""Discovers the topics to read, their stream names and their schemas."""
