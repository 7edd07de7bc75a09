"""Scripts that run a plugin with a stand-in for its service, in the plugin's own environment."""
