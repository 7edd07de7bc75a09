"""Builds records with columns from payloads, and evolves their schema."""
