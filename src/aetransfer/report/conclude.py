"""How a multirun ends: its table, its report, its runs in TensorBoard, and what failed."""

from datetime import date
from pathlib import Path

from rich.table import Table
from rich.text import Text

from aetransfer.printable import console, printable
from aetransfer.report.collect import collect_sweep
from aetransfer.report.files import write_report
from aetransfer.report.hparams import write_hparams
from aetransfer.report.statistics import NOTHING
from aetransfer.report.sweep import Content, content_of
from aetransfer.report.tables import TextTable

# A report on the terminal: the page's table of results, and what each comparison came to.

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


def conclude(sweep: Path) -> None:
    """Print and write what a sweep came to. The last lines name the jobs that failed, and the sweep."""
    collection = collect_sweep(sweep)
    content = content_of(collection)
    print_report(content)
    write_hparams(collection.runs, sweep)
    print(f"report: {write_report(content, sweep / 'report', date.today())}")
    for run in content.unfinished:
        print(run)
    print(f"sweep: {sweep}")
