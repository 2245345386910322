"""What hangs on a Trainer."""
