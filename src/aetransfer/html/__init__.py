"""What the pages have in common: the page of a sweep, and that of a run."""
