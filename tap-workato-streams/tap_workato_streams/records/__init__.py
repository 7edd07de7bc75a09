"""Converts payloads to records with columns, and evolves their schema.

``shaper`` converts a page: ``fitting`` detects payloads that fit their columns, and ``unpacker``
splits the others into columns and ``misfits``, from which ``evolution`` may create columns.
``known_columns`` are those at the start of a run, and ``layout`` says where they are in a record.
"""
