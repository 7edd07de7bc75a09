"""Converts payloads to records with columns, and evolves their schema."""
