"""What is in the store of runs: python -m aetransfer.runs status|list|show|rm|export [FILTER ...].

status                        how far the newest sweep is, or status outputs/sweeps/TIME
list stage=transfer data=cifar10 status=failed
show transfer-cifar10-frozen
rm status=failed,interrupted --yes
export out=runs.csv arm=scratch,finetune
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from aetransfer.config.environment import load_environment
from aetransfer.config.nodes import at_home
from aetransfer.errors import UserError
from aetransfer.printable import printable
from aetransfer.store.listing import export, print_list, print_run, size
from aetransfer.store.query import SHORT, StoredRun, chosen, default_output_dir, run_called, runs_in, started_from


def main() -> None:
    try:
        load_environment()
        arguments = _parser().parse_args()
        output_dir, words = _output_dir(arguments.words)
        sys.exit(arguments.do(output_dir, words, arguments))
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see python -m aetransfer.runs --help).")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m aetransfer.runs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"Filters: key=value,value with a key of {', '.join(SHORT)}, or a dotted one of the config "
        "(encoder.latent_dim=64). name= takes * and ?. paths.output_dir=DIR: another store than AETRANSFER_OUTPUT_DIR.",
    )
    commands = parser.add_subparsers(required=True, metavar="status|list|show|rm|export", parser_class=_Parser)
    for name, do, takes, summary in (
        ("status", _status, "SWEEP", "a row for each job of a sweep, the newest unless one is named"),
        ("list", _list, "FILTER", "a row for each run"),
        ("show", _show, "NAME", "one run: its name, a unique part of it, or a path"),
        ("rm", _remove, "FILTER|NAME", "remove runs from the store; says which, and does it with --yes"),
        ("export", _export, "out=FILE FILTER", "write a table to a .csv or .json file"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("words", nargs="*", metavar=takes)
        command.set_defaults(do=do)
        if name == "rm":
            command.add_argument("--yes", action="store_true", help="remove them")
            command.add_argument("--force", action="store_true", help="also those that are running")
    return parser


def _output_dir(words: list[str]) -> tuple[Path, list[str]]:
    """Take `paths.output_dir=DIR` out of the words."""
    given = [word.partition("=")[2] for word in words if word.startswith("paths.output_dir=")]
    directory = at_home(given[-1]) if given else default_output_dir()
    if given and not directory.is_dir():
        raise UserError(f"paths.output_dir={directory} is no folder.")
    return directory, [word for word in words if not word.startswith("paths.output_dir=")]


def _status(output_dir: Path, words: list[str], _: argparse.Namespace) -> int:
    from aetransfer.sweeps.status import newest_sweep, print_status

    filters = [word for word in words if "=" in word and not Path(word).is_dir()]
    sweeps = [word for word in words if word not in filters]
    if len(sweeps) > 1:
        raise UserError("status takes one sweep's directory, or none for the newest, and filters.")
    print_status(at_home(sweeps[0]) if sweeps else newest_sweep(output_dir), filters)
    return 0


def _list(output_dir: Path, words: list[str], _: argparse.Namespace) -> int:
    print_list(chosen(runs_in(output_dir), words), output_dir)
    return 0


def _show(output_dir: Path, words: list[str], _: argparse.Namespace) -> int:
    if len(words) != 1:
        raise UserError("show takes one run: its name, a unique part of it, or a path.")
    runs = runs_in(output_dir)
    run = run_called(words[0], runs)
    print_run(run, started_from(run, runs))
    return 0


def _remove(output_dir: Path, words: list[str], arguments: argparse.Namespace) -> int:
    if not words:
        raise UserError("rm takes filters or names: status=failed, say.")
    runs = runs_in(output_dir)
    wanted = _wanted(runs, words)
    kept = [run for run in wanted if run.status == "running" and not arguments.force]
    for run in kept:
        print(printable(f"kept: {run.name} is running; --force removes it as well"))
    removed = [run for run in wanted if run not in kept]
    for run in removed:
        orphans = [child for child in started_from(run, runs) if child not in removed]
        what = "remove" if arguments.yes else "would remove"
        print(printable(f"{what}: {run.name} ({run.status}, {size(run.bytes)})"))
        if orphans:
            names = ", ".join(child.name for child in orphans)
            print(printable(f"warning: {len(orphans)} kept run(s) started from it: {names}"))
    if removed and not arguments.yes:
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


def _export(output_dir: Path, words: list[str], _: argparse.Namespace) -> int:
    files = [word.removeprefix("out=") for word in words if word.startswith("out=")]
    if len(files) != 1 or Path(files[0]).suffix not in (".csv", ".json"):
        raise UserError("export takes one out=FILE.csv or out=FILE.json.")
    runs = chosen(runs_in(output_dir), [word for word in words if not word.startswith("out=")])
    export(runs, at_home(files[0]))
    print(f"{len(runs)} run(s): {files[0]}")
    return 0


if __name__ == "__main__":
    main()
