"""Checks of the connectors' assumptions about the API in a real workspace: `make check-live`."""
