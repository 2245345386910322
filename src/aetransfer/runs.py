"""List, show, remove or export runs, or say how far a sweep is.

Usage: python -m aetransfer.runs status|list|show|rm|export [FILTER ...]

Examples:
  python -m aetransfer.runs status status=failed
  python -m aetransfer.runs list stage=transfer data=cifar10
  python -m aetransfer.runs export out=runs.csv transfer=scratch,finetune

Commands:
  status [SWEEP] [FILTER]   how far the newest sweep is, or SWEEP, and time left
  list [FILTER]             one row for each run
  show NAME                 one run. NAME is its name, a part of it, or a path
  rm FILTER|NAME            list the runs that would be removed; --yes removes
                            them, --force those that are running too
  export out=FILE [FILTER]  a table of the runs, in a .csv or .json file

Filters (a run must match all of them):
  KEY=VALUE,VALUE   stage, model, data, arm, transfer, status, seed, fold, name
                    (with * and ?), or any dotted key of a run's config

Keys:
  paths.output_dir=DIR   folder of the runs. Default: what the variable
                         AETRANSFER_OUTPUT_DIR names, or else outputs
"""

import shutil
import sys
from pathlib import Path

from aetransfer.config.environment import load_environment
from aetransfer.config.nodes import at_home
from aetransfer.errors import UserError
from aetransfer.printable import printable
from aetransfer.store.listing import export, print_list, print_run, size
from aetransfer.store.query import chosen, default_output_dir, run_called, runs_in, started_from
from aetransfer.store.run import StoredRun


def main() -> None:
    """Do what the first word says. Exits with 1 after one sentence for what the user can mend."""
    words = sys.argv[1:]
    if {"-h", "--help"} & {*words}:
        print(__doc__)
        return
    try:
        load_environment()
        name, *words = [word for word in words if not word.startswith("--")] or [""]
        if name not in COMMANDS:
            offered = f"there are {', '.join(COMMANDS)} (see python -m aetransfer.runs --help)"
            raise UserError(f"{name} is no command: {offered}." if name else f"Say what to do: {offered}.")
        flags = [word for word in sys.argv[1:] if word.startswith("--")]
        if unknown := [flag for flag in flags if name != "rm" or flag not in ("--yes", "--force")]:
            raise UserError(f"{name} takes no {unknown[0]} (see python -m aetransfer.runs --help).")
        output_dir, words = _output_dir(words)
        sys.exit(COMMANDS[name](output_dir, words, flags))
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")


def _output_dir(words: list[str]) -> tuple[Path, list[str]]:
    """Take `paths.output_dir=DIR` out of the words."""
    given = [word.partition("=")[2] for word in words if word.startswith("paths.output_dir=")]
    directory = at_home(given[-1]) if given else default_output_dir()
    if given and not directory.is_dir():
        raise UserError(f"paths.output_dir={directory} is no folder.")
    return directory, [word for word in words if not word.startswith("paths.output_dir=")]


def _status(output_dir: Path, words: list[str], _: list[str]) -> int:
    from aetransfer.sweeps.status import newest_sweep, print_status

    filters = [word for word in words if "=" in word and not Path(word).is_dir()]
    sweeps = [word for word in words if word not in filters]
    if len(sweeps) > 1:
        raise UserError("status takes one sweep's directory, or none for the newest, and filters.")
    print_status(at_home(sweeps[0]) if sweeps else newest_sweep(output_dir), filters)
    return 0


def _list(output_dir: Path, words: list[str], _: list[str]) -> int:
    print_list(chosen(runs_in(output_dir), words), output_dir)
    return 0


def _show(output_dir: Path, words: list[str], _: list[str]) -> int:
    if len(words) != 1:
        raise UserError("show takes one run: its name, a unique part of it, or a path.")
    runs = runs_in(output_dir)
    run = run_called(words[0], runs)
    print_run(run, started_from(run, runs))
    return 0


def _remove(output_dir: Path, words: list[str], flags: list[str]) -> int:
    if not words:
        raise UserError("rm takes filters or names: status=failed, say.")
    runs = runs_in(output_dir)
    wanted = _wanted(runs, words)
    kept = [run for run in wanted if run.status == "running" and "--force" not in flags]
    for run in kept:
        print(printable(f"kept: {run.name} is running; --force removes it as well"))
    removed = [run for run in wanted if run not in kept]
    for run in removed:
        orphans = [child for child in started_from(run, runs) if child not in removed]
        what = "remove" if "--yes" in flags else "would remove"
        print(printable(f"{what}: {run.name} ({run.status}, {size(run.bytes)})"))
        if orphans:
            names = ", ".join(child.name for child in orphans)
            print(printable(f"warning: {len(orphans)} kept run(s) started from it: {names}"))
    if removed and "--yes" not in flags:
        raise UserError(f"Nothing was removed: add --yes to remove the {len(removed)} run(s) above.")
    for run in removed:
        shutil.rmtree(run.path)
    print(f"{len(removed)} run(s) removed")
    return 1 if kept else 0


def _wanted(runs: list[StoredRun], words: list[str]) -> list[StoredRun]:
    filters = [word for word in words if "=" in word]
    wanted = chosen(runs, filters) if filters else []
    for name in (word for word in words if "=" not in word):
        run = run_called(name, runs)
        if run not in runs:
            raise UserError(f"{name} is not in this store: rm removes nothing elsewhere.")
        if run not in wanted:
            wanted.append(run)
    return wanted


def _export(output_dir: Path, words: list[str], _: list[str]) -> int:
    files = [word.removeprefix("out=") for word in words if word.startswith("out=")]
    if len(files) != 1 or Path(files[0]).suffix not in (".csv", ".json"):
        raise UserError("export takes one out=FILE.csv or out=FILE.json.")
    runs = chosen(runs_in(output_dir), [word for word in words if not word.startswith("out=")])
    export(runs, at_home(files[0]))
    print(f"{len(runs)} run(s): {files[0]}")
    return 0


COMMANDS = {"status": _status, "list": _list, "show": _show, "rm": _remove, "export": _export}

if __name__ == "__main__":
    main()
