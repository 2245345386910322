"""The truth about a run while it goes on: `result.json` from its first second, with a heartbeat while it runs."""

import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from aetransfer.config.commands import config_dir
from aetransfer.config.schema import Job
from aetransfer.models.facts import ModelFacts
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import UNTESTED, code_version, own_code
from aetransfer.store.identity import identity

PACKAGES = (
    "aetransfer",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "numpy",
)


def provenance(allow: Sequence[str]) -> dict[str, Any]:
    """Return what is needed to reproduce a run, or to doubt it: versions, code, commit, command, hardware.

    allow: the packages, beside the program's own, whose code decides the numbers too.
    """
    return {
        "versions": _versions(),
        "code": code_version(),
        "own_code": own_code(allow),
        "git": _git(),
        "command": sys.argv,
        "hardware": _hardware(),
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}


def _git() -> dict[str, Any] | None:
    """Return the commit of the repository that the command runs in, and whether files differ from it.

    None where it runs in none, or there is no git.
    """

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _hardware() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


class Record:
    """Writes a run's result.json: running, then finished, failed or interrupted."""

    def __init__(
        self,
        directory: RunDirectory,
        job: Job,
        source: str | None,
        overrides: list[str],
        progress: Callable[[], dict[str, Any]],
    ) -> None:
        self.directory = directory
        self._progress = progress
        self._writing = threading.Lock()
        self._since = time.perf_counter()
        self.content: dict[str, Any] = {
            "status": "running",
            "name": directory.path.name,
            "identity": identity(job),
            "stage": job.stage,
            "arm": job.transfer.name if job.transfer else None,
            "seed": job.seed,
            "source": source,
            "metrics": {},
            "counts": {},
            "timing": {"started": datetime.now(UTC).isoformat(timespec="milliseconds")},
            "overrides": overrides,
            "config_dir": config_dir(),
            **provenance(job.allow),
        }
        self.beat()

    def describe(self, model: ModelFacts) -> None:
        """Note what the run's model is, from the next heartbeat on."""
        with self._writing:
            self.content["model"] = model.model_dump()

    def keep_training_of(self, earlier: dict[str, Any]) -> None:
        """Keep what a run that is only tested now has said of its training. earlier: its result.json."""
        seconds = earlier["timing"].get("seconds")
        self._since -= seconds if isinstance(seconds, int | float) else 0.0
        with self._writing:
            self.content |= {key: earlier[key] for key in ("metrics", "counts", "timing", UNTESTED)}

    def beat(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._writing:
            if self.content["status"] == "running":
                self.content |= {"heartbeat": now, "progress": self._progress()}
                self.directory.write_result(self.content)

    def give_up(self, status: str, trained: dict[str, Any] | None, **more: Any) -> None:
        """Close a run that has not come to its end; one that was trained before, and only tested now, stays finished.

        trained: the result.json of such a run.
        """
        if trained is None:
            self.close(status, **more)
            return
        with self._writing:
            self.content = {**trained, "status": "finished"}
            self.directory.write_result(self.content)

    def close(self, status: str, **more: Any) -> dict[str, Any]:
        """Write the last word on the run and return it; `more` is merged in, `timing` into what stands there."""
        timing = self.content["timing"] | more.pop("timing", {})
        timing["seconds"] = round(time.perf_counter() - self._since, 3)
        with self._writing:
            self.content |= {"status": status, "progress": self._progress(), **more, "timing": timing}
            if status == "finished":
                del self.content["progress"]
                if UNTESTED not in more:
                    self.content.pop(UNTESTED, None)
            self.directory.write_result(self.content)
        return self.content
