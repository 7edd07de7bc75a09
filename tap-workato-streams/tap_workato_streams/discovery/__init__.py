"""Which topics there are, under which stream names and with which schemas."""
