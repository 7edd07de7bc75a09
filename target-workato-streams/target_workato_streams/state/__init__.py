"""Writes states and dead letters."""
