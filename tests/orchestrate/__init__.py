"""Pipelines run unattended: the supervisor script and the examples in `orchestrate/`."""
