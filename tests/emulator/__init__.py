"""An emulator of Workato Event Streams: a real HTTP server for tests, demo and benchmarks.

Run it by hand with `python -m tests.emulator --port 8080` from the repository's root, or from
Python with `tests.emulator.control.Emulator`.
"""
