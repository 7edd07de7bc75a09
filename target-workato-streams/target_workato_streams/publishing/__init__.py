"""Publishes records, from the record to the outcome of its message."""
