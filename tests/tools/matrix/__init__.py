"""Pipelines of the connectors and other plugins from PyPI: `make matrix`."""
