"""Benchmarks of both connectors: `make bench`, or `python -m tests.tools.benchmarks`."""
