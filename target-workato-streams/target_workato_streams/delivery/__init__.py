"""The guarantee of a run: which records are published, and which states are emitted."""
