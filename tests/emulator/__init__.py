"""An emulator of Workato Event Streams: an HTTP server for the tests, the demo and the benchmarks.

Start it with `python -m tests.emulator --port 8080` in the repository's root, or from Python with
`tests.emulator.control.Emulator`.
"""
