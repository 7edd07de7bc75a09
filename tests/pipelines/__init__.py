"""Pipelines with the real Meltano, PostgreSQL and packages, and the documentation's commands."""
