"""Random rounds against the target's executable: records, states, faults and signals."""
