"""The target, as its users run it: the executable against the emulator."""
