"""Tests of the emulator, which is a package of its own in `src/`."""
