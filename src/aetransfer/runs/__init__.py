"""A run is a function of its config: its identity, its directory, its result."""
