"""TensorBoard on a store of runs, for this machine alone: `make tensorboard`, and what screenshots are taken of.

The store is AETRANSFER_OUTPUT_DIR, from the environment or .env, as `train` reads it; else outputs.
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
from aetransfer.errors import UserError
from aetransfer.store.query import default_output_dir

SECONDS = 60.0
# For a browser: the projector's points turn until somebody touches them.
NO_ORBIT = "deep('vz-projector')[0].projectorScatterPlotAdapter?.scatterPlot.stopOrbitAnimation()"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")


def main() -> None:
    try:
        load_environment()
    except UserError as error:
        sys.exit(f"error: {error}")
    store = default_output_dir()
    if not has_runs(store):
        sys.exit(
            f"There are no runs with curves in {store} yet: train one, such as `make quickstart` does, and look again."
        )
    words = command(store)
    os.execv(words[0], words)


def has_runs(store: Path) -> bool:
    return any(store.glob("runs/*/events.out.tfevents.*"))


def command(store: Path, port: int | None = None) -> list[str]:
    """Return the command line. port: 0 for any that is free, None for TensorBoard's own choice."""
    words = shlex.split("-m tensorboard.main --host 127.0.0.1 --logdir")
    return [sys.executable, *words, str(store), *([] if port is None else [f"--port={port}"])]


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
