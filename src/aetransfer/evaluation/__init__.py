"""What is measured of a finished run beyond its own test: probes, reconstruction, likelihood, representation."""
