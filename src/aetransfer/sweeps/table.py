"""A report on the terminal: the page's table of results, and what each comparison came to."""

from rich.table import Table
from rich.text import Text

from aetransfer.console import console
from aetransfer.printable import printable
from aetransfer.sweeps.content import Content
from aetransfer.sweeps.numbers import NOTHING
from aetransfer.sweeps.tables import TextTable

# More would push the table out of sight; the page has them all.
MOST_VERDICTS = 12


def print_report(content: Content) -> None:
    out = console()
    for section in content.sections:
        out.print(_table(section.results))
        out.print(section.spread)
        if section.comparisons and len(section.comparisons.rows) <= MOST_VERDICTS:
            named = section.comparisons.texts
            for row in section.comparisons.rows:
                *setting, arms, verdict = row[:named]
                difference = [cell for cell in row[named : named + 2] if cell != NOTHING]
                line = f"{' '.join([*setting, arms])}: {' '.join([*difference, verdict])}"
                out.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    if content.left_out:
        out.print(content.left_out, highlight=False, soft_wrap=True)


def _table(results: TextTable) -> Table:
    table = Table()
    for place, heading in enumerate(results.header):
        table.add_column(Text(printable(heading)), justify="left" if place < results.texts else "right")
    for row in results.rows:
        # Text, so that brackets in a name are no markup.
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
