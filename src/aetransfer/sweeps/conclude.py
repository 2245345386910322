"""How a multirun ends: its table, its report, its runs in TensorBoard, and what failed."""

from datetime import date
from pathlib import Path

from aetransfer.sweeps.collect import collect_sweep
from aetransfer.sweeps.content import content_of
from aetransfer.sweeps.files import write_report
from aetransfer.sweeps.hparams import write_hparams
from aetransfer.sweeps.table import print_report


def conclude(sweep: Path) -> None:
    """Print and write what a sweep came to. The last lines name the jobs that failed, and the sweep."""
    content = content_of(collect_sweep(sweep))
    print_report(content)
    write_hparams(content, sweep / "hparams")
    print(f"report: {write_report(content, sweep / 'report', date.today())}")
    for run in content.unfinished:
        print(run)
    print(f"sweep: {sweep}")
