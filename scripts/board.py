"""TensorBoard on a store of runs, for this machine alone: `make tensorboard`, and what screenshots are taken of.

The store is AETRANSFER_OUTPUT_DIR, from the environment or .env, as `train` reads it; else outputs. With a sweep's
directory, or its name in the store, it shows that sweep alone.

TensorBoard calls runs by their folders. So it is given a folder of links: `<sweep>/finetune lr=0.001 seed=0`.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from aetransfer.config.environment import load_environment
from aetransfer.config.nodes import at_home
from aetransfer.errors import UserError
from aetransfer.store.directory import RunDirectory
from aetransfer.store.query import default_output_dir
from aetransfer.sweeps.jobs import is_sweep, names_of_runs

SECONDS = 60.0
# Between two looks for runs that have begun.
REFRESH = 30.0
# For a browser: the projector's points turn until somebody touches them.
NO_ORBIT = "deep('vz-projector')[0].projectorScatterPlotAdapter?.scatterPlot.stopOrbitAnimation()"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")


def main() -> None:
    # As Ctrl-C does: TensorBoard and the links shall be gone, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        load_environment()
        show(sys.argv[1] if len(sys.argv) > 1 else None)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        pass


def show(named: str | None) -> None:
    """Run TensorBoard until it ends. named: a sweep."""
    store = default_output_dir()
    sweep = _sweep(store, named) if named else None
    if sweep is not None:
        store = sweep.absolute().parent.parent
    with tempfile.TemporaryDirectory(prefix="tensorboard-") as folder:
        shown = Shown(store, sweep, Path(folder))
        shown.link()
        if not shown.places:
            raise UserError(
                f"There are no runs with curves in {sweep or store} yet: train one, such as `make quickstart` does, "
                "and look again."
            )
        shown.describe()
        process = subprocess.Popen(command(Path(folder)))
        try:
            while process.poll() is None:
                try:
                    process.wait(REFRESH)
                except subprocess.TimeoutExpired:
                    shown.link()
        finally:
            process.terminate()
            process.wait()


def _sweep(store: Path, name: str) -> Path:
    for place in (at_home(name), store / "sweeps" / name):
        if is_sweep(place):
            return place
    raise UserError(f"SWEEP={name} is no sweep: give its directory, or its name in {store / 'sweeps'}.")


class Shown:
    """Links to the runs of a store, or of one of its sweeps and their pretrainings, by short names.

    Runs that began later are linked later.
    """

    def __init__(self, store: Path, sweep: Path | None, folder: Path) -> None:
        self.store, self.sweep, self.folder = store, sweep, folder
        self.places: dict[str, Path] = {}

    def link(self) -> None:
        """Link each event file that is there, and the points that the projector shows."""
        for run, name in self._names().items():
            of_run = self.store / "runs" / run
            if any(of_run.glob("events.out.tfevents.*")):
                place = self.places.setdefault(run, self.folder / name)
                place.mkdir(parents=True, exist_ok=True)
                for path in (*of_run.glob("events.out.tfevents.*"), *of_run.glob("projector*")):
                    if not path.name.endswith(".hparams") and not (place / path.name).exists():
                        (place / path.name).symlink_to(path.absolute())

    def describe(self) -> None:
        """Give the HParams tab a row for each finished transfer, or pretraining where there is no transfer, and a
        column for each key that varies among them.
        """
        from aetransfer.report.collect import collect_store, collect_sweep
        from aetransfer.report.hparams import settings, write_session

        collection = collect_store(self.store / "runs", []) if self.sweep is None else collect_sweep(self.sweep)
        transfers = [run for run in collection.runs if run.stage == "transfer"]
        for run, setting in settings(transfers or collection.runs):
            if run.name in self.places:
                place = self.places[run.name]
                write_session(place, run, place.name, setting)

    def _names(self) -> dict[str, str]:
        """Return the name of each run to be shown. One of several sweeps is called as in the last of them."""
        if self.sweep is not None:
            names = names_of_runs(self.sweep)
            sources = [(RunDirectory(self.store / "runs" / run).result() or {}).get("source") for run in names]
            return {Path(source).name: Path(source).name for source in sources if source} | names
        names = {path.name: path.name for path in sorted(self.store.glob("runs/[!.]*"))}
        for sweep in sorted(filter(is_sweep, self.store.glob("sweeps/*"))):
            names |= {run: f"{sweep.name}/{name}" for run, name in names_of_runs(sweep).items() if run in names}
        return names


def command(folder: Path, port: int | None = None) -> list[str]:
    """Return the command line. port: 0 for any that is free, None for TensorBoard's own choice."""
    words = shlex.split("-m tensorboard.main --host 127.0.0.1 --logdir")
    return [sys.executable, *words, str(folder), *([] if port is None else [f"--port={port}"])]


@contextmanager
def served(store: Path, runs: int) -> Iterator[str]:
    """Serve a store meanwhile, on a free port. Yields the address once `runs` runs or more are read."""
    with tempfile.NamedTemporaryFile() as said:
        process = subprocess.Popen(command(store, 0), stderr=said, start_new_session=True)
        until = time.monotonic() + SECONDS
        try:
            while not (found := ADDRESS.search(Path(said.name).read_text())):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"TensorBoard does not serve {store}: {Path(said.name).read_text()}")
                time.sleep(0.2)
            while len(json.load(urlopen(f"{found[0]}data/runs", timeout=SECONDS))) < runs:
                if time.monotonic() > until:
                    raise RuntimeError(f"TensorBoard has not read {runs} runs of {store} in {SECONDS:g} s.")
                time.sleep(0.2)
            yield found[0]
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    main()
