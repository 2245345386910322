"""How a multirun ends: its table, its report, its runs in TensorBoard, and what failed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from rich.table import Table
from rich.text import Text

from aetransfer.printable import console, printable
from aetransfer.report.collect import Unfinished, collect_sweep
from aetransfer.report.files import write_report
from aetransfer.report.grouping import label
from aetransfer.report.hparams import write_hparams
from aetransfer.report.statistics import NOTHING, interval
from aetransfer.report.sweep import Content, Section, content_of
from aetransfer.report.tables import CI, TextTable
from aetransfer.sweeps.jobs import causes, labels, read_planned

# A report on the terminal: its answer, and the page's tables as far as they fit.

# More would push the answer out of sight; the page has them all.
MOST_ROWS = 12
# Columns from which all metrics are shown, in characters.
WIDE = 120


def print_report(content: Content) -> None:
    out = console()

    def say(line: str, whole: bool = False) -> None:
        # A terminal would break words; what is pasted or read by a program is one line.
        out.print(printable(line), markup=False, highlight=False, soft_wrap=whole or not out.is_terminal)

    for answer in content.answers:
        for line in (answer.task, *answer.sentences, *answer.meaning):
            if line:
                say(line)
        say(f"Use it: {answer.command}", whole=True)
    for caution in content.cautions:
        say(f"Note: {caution}")
    for section in content.sections:
        if section.overall and section.pools_all and len(section.results.rows) > MOST_ROWS:
            shown = section.overall
            fits = shown.without([each for each in shown.header[shown.texts :] if each not in ("difference", CI, "n")])
            out.print(_table(shown if out.width >= WIDE else fits))
            say(f"{len(section.results.rows)} groups: the page and results.csv have each.")
            continue
        out.print(_table(_results(section, out.width >= WIDE)))
        say(section.spread)
        if len(section.each) <= MOST_ROWS:
            for comparison in section.each:
                setting = [
                    label(column, comparison.group.setting) for column in section.columns if column != "transfer"
                ]
                paired = comparison.paired
                effect = [f"{paired.mean:+.4f}", interval(paired.interval, 4, signed=True)] if paired else []
                verdict = " ".join([*(each for each in effect if each != NOTHING), comparison.verdict])
                say(" ".join([*setting, f"{comparison.group.arm} – {comparison.control}: {verdict}"]))
    if content.left_out:
        say(content.left_out)


def _results(section: Section, wide: bool) -> TextTable:
    """Return the results, with the differences in the place of the metrics for which there is no room."""
    table = section.results
    leading = {group.compared.metric for group in section.groups if group.compared}
    if wide or not leading:
        return table
    table = table.without([each for each in table.header[table.texts :] if each not in (*leading, "n")])
    differences = {id(each.group): f"{each.paired.mean:+.4f}" for each in section.each if each.paired}
    if not differences:
        return table
    cells = ["difference", *(differences.get(id(group), NOTHING) for group in section.groups)]
    rows = [[*row[:-1], cell, row[-1]] for row, cell in zip((table.header, *table.rows), cells, strict=True)]
    return replace(table, header=rows[0], rows=rows[1:])


def _table(shown: TextTable) -> Table:
    """Draw a table, with the last parts of keys as headings where they tell them apart."""
    table = Table()
    last = [heading.rpartition(".")[2] for heading in shown.header]
    for place, heading in enumerate(shown.header):
        short = last[place] if last.count(last[place]) == 1 and place < shown.texts else heading
        table.add_column(Text(printable(short)), justify="left" if place < shown.texts else "right")
    for place, row in enumerate(shown.rows):
        # Text, so that brackets in a name are no markup.
        table.add_row(*(Text(printable(cell)) for cell in row), style="bold" if place in shown.bold else None)
    return table


def conclude(sweep: Path) -> None:
    """Print and write what a sweep came to. The last lines name the jobs that failed, and the sweep."""
    collection = collect_sweep(sweep)
    content = content_of(collection)
    print_report(content)
    write_hparams(collection.runs, sweep)
    print(f"report: {write_report(content, sweep / 'report', date.today())}")
    say_unfinished(content.unfinished, sweep)
    print(f"sweep: {sweep}")


def say_unfinished(unfinished: Sequence[Unfinished], sweep: Path | None = None) -> None:
    """Print what did not finish, and why, those of one cause in one line. sweep: that all of them are of."""
    planned = read_planned(sweep) if sweep else {}
    said = {" ".join(planned[number]): label for number, label in labels(planned).items()}
    for status in dict.fromkeys(run.status for run in unfinished):
        for entry in causes((said.get(run.what, run.what), run.why) for run in unfinished if run.status == status):
            print(printable(f"{status}: {entry}"))
