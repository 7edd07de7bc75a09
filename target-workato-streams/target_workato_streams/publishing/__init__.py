"""From a record to an acknowledged message."""
