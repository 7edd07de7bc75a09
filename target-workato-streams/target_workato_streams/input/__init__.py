"""Reads Singer messages from stdin, and the files of BATCH messages."""
