"""Where tables are printed."""

from rich.console import Console

WIDTH = 200  # characters


def console() -> Console:
    """Return a console as wide as the terminal. A pipe has no width: rich's 80 columns would make tables unreadable."""
    return Console() if Console().is_terminal else Console(width=WIDTH)
