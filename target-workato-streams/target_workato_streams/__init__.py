"""Singer target for Workato Event Streams."""
