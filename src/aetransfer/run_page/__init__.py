"""A run's own page, `report.html` in its directory: what it was, what it came to, what it looked like on the way."""
