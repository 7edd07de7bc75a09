"""Tests of the tap as users run it: the executable against the emulator."""
