"""Promises to users, tested with the executables and the emulator."""
