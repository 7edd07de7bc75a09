"""The demo: load a file into a topic, and the topic into PostgreSQL, on this machine."""
