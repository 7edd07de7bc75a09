"""The tests, the emulator, and everything else that runs against it: the demo and benchmarks."""
