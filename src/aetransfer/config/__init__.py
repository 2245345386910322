"""What a run is made of: the schema of a composed config, its checks, and the one place that instantiates."""
