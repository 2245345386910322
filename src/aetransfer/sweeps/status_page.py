"""How a sweep's state is shown: a row for each job, and why the failed ones failed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aetransfer.printable import console, printable
from aetransfer.store.listing import COLOURS
from aetransfer.sweeps.status import JobStatus


def print_status(sweep: Path, jobs: Sequence[JobStatus]) -> None:
    """Print the counts, a table, and for each failed job its error and the last lines of its log."""
    page = console()
    counts = Counter(job.status for job in jobs)
    _line(page, f"{len(jobs)} job(s): " + ", ".join(f"{count} {status}" for status, count in counts.most_common()))
    table = Table()
    for heading in ("job", "status", "", "of"):
        table.add_column(heading)
    shared = set.intersection(*(set(job.overrides) for job in jobs))
    for job in jobs:
        own = " ".join(word for word in job.overrides if word not in shared)
        status = Text(printable(job.status), COLOURS.get(job.status, ""))
        detail = Text("" if job.status == "failed" else printable(job.detail))
        table.add_row(Text(str(job.number)), status, detail, Text(printable(own)))
    page.print(table)
    for job in jobs:
        if job.status == "failed":
            _line(page, f"job {job.number} failed: {job.detail}")
            for line in job.log_tail:
                _line(page, f"  {line}")
            if job.output is not None:
                _line(page, f"  ({job.output})")
    _line(page, f"sweep: {sweep}")


def _line(page: Console, text: str) -> None:
    page.print(printable(text), markup=False, highlight=False, soft_wrap=True)
