"""What hangs on a multirun: which jobs it had, and the table they end in."""
