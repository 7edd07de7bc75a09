"""Everything that runs against the emulator: tests, the emulator itself, demo, benchmarks."""
