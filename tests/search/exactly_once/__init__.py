"""Exactly once, tried with random histories: the target's code with a service that is played."""
