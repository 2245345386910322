"""LightningModules: a loss, its metrics and an optimiser each, nothing else."""
