"""A finished run's network on images that it was not trained for: where they come from, and the table they end in."""
