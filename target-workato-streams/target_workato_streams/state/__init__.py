"""Which state may be emitted, and where rejected messages go."""
