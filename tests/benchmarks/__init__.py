"""Benchmarks of the pair: `make bench`, or `python -m tests.benchmarks`."""
