"""Decides which state may be emitted, and keeps rejected messages."""
