"""Write the report of a sweep or of any runs, or the page of one run.

Usage: python -m aetransfer.report DIR [FILTER ...] [KEY=VALUE ...]

Examples:
  python -m aetransfer.report outputs/sweeps/TIME
  python -m aetransfer.report stage=transfer data=cifar10,mnist
  python -m aetransfer.report run=outputs/runs/NAME

DIR is a sweep's directory, an output directory or its runs/. Without DIR, all
runs of paths.output_dir are read.

Filters (a run must match all of them):
  KEY=VALUE,VALUE   stage, status, data, model, transfer, seed, fold, or any
                    dotted key of a run's config

Keys:
  out=FOLDER             folder to write the report into
  run=DIR                write the page of this run, report.html, again
  paths.output_dir=DIR   folder of the runs. Default: what the variable
                         AETRANSFER_OUTPUT_DIR names, or else outputs
"""

import re
import sys
from pathlib import Path

from aetransfer.config.environment import load_environment
from aetransfer.config.nodes import at_home
from aetransfer.errors import UserError
from aetransfer.printable import printable
from aetransfer.store.directory import RunDirectory
from aetransfer.store.query import default_output_dir

OUTPUT_DIR = "paths.output_dir"


def main() -> None:
    """Print the table and write the report. Exits with 1 after one sentence for what the user can mend."""
    words = sys.argv[1:]
    if "-h" in words or "--help" in words:
        print(__doc__)
        return
    try:
        load_environment()
        index = _written(words)
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")
    print(f"report: {index}")


def _written(words: list[str]) -> Path:
    directory, places, filters = None, {OUTPUT_DIR: default_output_dir()}, []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or Path(word).exists():
            if directory is not None:
                raise UserError(f"Reports are made of one directory, not of {directory} and {word} at once.")
            directory = at_home(word)
        elif not key or not value:
            raise UserError(f"{word} is no filter: write KEY=VALUE, such as stage=transfer.")
        elif key in ("run", "out", OUTPUT_DIR):
            places[key] = at_home(value)
        else:
            filters.append(word)
    if "run" in places:
        if len(words) > 1:
            raise UserError("run=DIR writes the page of one run, and takes no other word.")
        return _page(places["run"])
    if directory is None and not filters:
        raise UserError("Say what to report on: a directory, or filters such as stage=transfer data=cifar10 (see -h).")
    return _report(directory or places[OUTPUT_DIR], filters, places.get("out"))


def _page(run: Path) -> Path:
    directory = RunDirectory.existing(run)
    # scipy and matplotlib take seconds to import, here and below, and a misspelt folder must not.
    from aetransfer.report.run import write_run_page

    return write_run_page(directory)


def _report(directory: Path, filters: list[str], out: Path | None) -> Path:
    """Collect, print and write. Returns index.html's path. Raises UserError where there is nothing to report."""
    if not directory.is_dir():
        raise UserError(f"{directory} is no directory: name a sweep's, an output directory, or filters.")
    from aetransfer.report.collect import collect_store, collect_sweep
    from aetransfer.sweeps.jobs import is_sweep

    slug, sweep = _slug(filters), directory if is_sweep(directory) else None
    if sweep:
        collection = collect_sweep(sweep, filters)
        folder = sweep / (f"report-{slug}" if filters else "report")
    else:
        runs = directory / "runs" if (directory / "runs").is_dir() else directory
        collection = collect_store(runs, filters)
        folder = runs.absolute().parent / "reports" / slug
    if not (collection.runs or collection.unfinished or collection.untested):
        asked = f" with {' '.join(filters)}" if filters else ""
        raise UserError(f"There is no run{asked} in {directory}.")

    from datetime import date

    from aetransfer.report.files import print_report, say_unfinished, write_report
    from aetransfer.report.sweep import content_of

    content = content_of(collection)
    print_report(content)
    say_unfinished(content.unfinished, sweep)
    return write_report(content, out or folder, date.today())


def _slug(filters: list[str]) -> str:
    """Make the name of a folder from filters: stage-transfer_data-cifar10."""
    return "_".join(re.sub(r"[^\w.]+", "-", word) for word in sorted(filters)) or "all"


if __name__ == "__main__":
    main()
