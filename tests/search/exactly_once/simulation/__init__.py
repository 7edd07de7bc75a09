"""Random histories of `exactly_once`: its rule and its reader in a simulated world."""
