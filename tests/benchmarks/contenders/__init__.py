"""What the connectors are measured against, each a program of its own."""
