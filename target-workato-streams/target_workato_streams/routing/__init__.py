"""Which topic a stream goes to."""
