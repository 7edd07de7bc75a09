"""Decides which states may be emitted, and writes states and dead letters."""
