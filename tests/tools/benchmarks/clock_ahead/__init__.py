"""A folder for PYTHONPATH, with which the clock of a Python process is ahead."""
