"""The runs that a run's numbers must be read beside: its pretraining, and its control of the same seed and fold."""

from dataclasses import dataclass
from pathlib import Path

from aetransfer.html.template import link
from aetransfer.run_page.facts import Subject
from aetransfer.runs.directory import RunDirectory
from aetransfer.runs.store import read
from aetransfer.runs.untested import is_untested
from aetransfer.sweeps.collect import CollectedRun, checked, moved
from aetransfer.sweeps.grouping import group_runs, replicate


@dataclass(frozen=True)
class Relative:
    """address: of its page, None where there is none."""

    name: str
    tested: dict[str, float]
    address: str | None


def source_of(subject: Subject) -> Relative | None:
    """Return the pretraining that a transfer carries; only the name where it is not in the same store any more."""
    if subject.told.source is None:
        return None
    store = subject.directory.path.absolute().parent
    place = moved(subject.told.source, store)
    if place.parent != store:
        return Relative(place.name, {}, None)
    return _relative(place, subject) or Relative(place.name, {}, None)


def control_of(subject: Subject) -> Relative | None:
    """Return the run of the store that differs from a transfer in nothing but the arm, which is its control."""
    wanted = f"transfer-{subject.config.get('data.name')}-{subject.run.control}-"
    for path in sorted(subject.directory.path.absolute().parent.glob("transfer-*")):
        if path.name.startswith(wanted) and f"-s{subject.told.seed}-" in path.name:
            control = checked(read(path))
            if control.status != "finished" or is_untested(control.result) or RunDirectory(path).is_superseded:
                continue
            found = CollectedRun(control)
            columns, _ = group_runs([subject.run, found])
            if columns == ["transfer"] and replicate(found) == replicate(subject.run):
                return _relative(path, subject)
    return None


def _relative(path: Path, subject: Subject) -> Relative | None:
    run = checked(read(path))
    if run.status != "finished":
        return None
    page = RunDirectory(path).page
    address = link(page, subject.directory.path.absolute()) if page.is_file() else None
    return Relative(run.name, CollectedRun(run).tested, address)
