"""A callback that makes tiny trainings slow enough to be interrupted, and tells which step they are at."""

import os
import time
from pathlib import Path

from pytorch_lightning import Callback


class Paced(Callback):
    """Note each step in the run's directory, and wait as long as PACE says; the numbers know nothing of either."""

    def __init__(self, directory: str) -> None:
        self._steps = Path(directory) / "steps"

    def on_train_batch_end(self, trainer, *rest):
        with self._steps.open("a") as file:
            file.write(f"{trainer.global_step}\n")
        time.sleep(float(os.environ.get("PACE", "0")))


def steps_of(run):
    """Return the steps that a run did, in all its attempts."""
    path = Path(run) / "steps"
    return [int(line) for line in path.read_text().splitlines()] if path.is_file() else []
