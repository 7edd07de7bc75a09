"""Writes records and states to stdout, and logs progress."""
