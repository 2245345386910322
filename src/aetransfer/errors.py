"""What the person who runs the program can mend: shown as one sentence, without a traceback."""


class UserError(Exception):
    """Its text is the whole message: what is wrong, where, and what to do."""
