"""A finished run's network on inputs that it was not trained on: where they come from, and the table they end in."""
