"""What a sweep came to: one row for each of its choices, mean and standard deviation over its seeds."""

import json
import statistics
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aetransfer.sweeps.jobs import SweepJob, read_jobs


def print_table(sweep: Path) -> None:
    """Print the finished jobs' test metrics and name the failed ones. Every job of the sweep is in one of the two."""
    jobs = read_jobs(sweep)
    finished = [job for job in jobs if job.run is not None]
    # A pipe has no width; wrapping a table at 80 columns there makes it unreadable.
    console = Console() if Console().is_terminal else Console(width=160)
    if finished:
        console.print(_table(finished))
        console.print("mean ± standard deviation over n seeds")
    for job in jobs:
        if job.error is not None:
            console.print(f"failed: {' '.join(job.overrides)}: {job.error}", markup=False)
    console.print(f"sweep: {sweep}", markup=False, soft_wrap=True)


def _table(jobs: list[SweepJob]) -> Table:
    varied = [key for key in jobs[0].choices if key != "seed" and len({job.choices.get(key) for job in jobs}) > 1]
    groups: dict[tuple[str, ...], list[dict[str, float]]] = defaultdict(list)
    for job in jobs:
        groups[tuple(job.choices.get(key, "") for key in varied)].append(_test_metrics(job))
    metrics = list(dict.fromkeys(name for runs in groups.values() for run in runs for name in run))

    table = Table()
    for key in varied:
        table.add_column(key)
    for name in (*metrics, "n"):
        table.add_column(name, justify="right")
    for choice, runs in groups.items():
        cells = [_spread([run[name] for run in runs if name in run]) for name in metrics]
        table.add_row(*choice, *cells, str(len(runs)))
    return table


def _test_metrics(job: SweepJob) -> dict[str, float]:
    assert job.run is not None
    metrics: dict[str, float] = json.loads((Path(job.run) / "result.json").read_text())["metrics"]
    return {name: value for name, value in metrics.items() if name.startswith("test/")}


def _spread(values: list[float]) -> str:
    """Write a mean with its standard deviation, which one value alone does not have."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2g}"
