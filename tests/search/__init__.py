"""Searches: random payloads, faults, kills and histories."""
