"""Real plugins from PyPI in front of and behind the connectors: `make matrix`."""
