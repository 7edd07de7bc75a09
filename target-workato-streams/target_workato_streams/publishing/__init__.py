"""Publishes records: from a record to the outcome of its message."""
