"""The main job on this machine: a file into a topic, and the topic into PostgreSQL."""
