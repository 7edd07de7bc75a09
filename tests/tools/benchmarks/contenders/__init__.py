"""The programs that the connectors are compared with."""
