"""What the connectors assume about the API, checked against a real workspace: `make check-live`."""
