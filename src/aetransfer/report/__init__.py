"""What a sweep says: groups, paired statistics, verdicts, tables and figures, as a page and in the terminal.

`sweep` is the page of a sweep, `run` the page of one run.
"""
