"""The consumer of one topic."""
