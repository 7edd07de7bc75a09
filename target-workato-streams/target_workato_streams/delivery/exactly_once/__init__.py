"""Publishing without duplicates: which records a topic already contains."""
