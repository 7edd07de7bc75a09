"""Random tests of the target's executable, with records, states, faults and signals."""
