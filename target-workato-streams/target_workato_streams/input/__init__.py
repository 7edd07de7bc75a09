"""Decodes the Singer messages of the input, and reads the files of BATCH messages."""
