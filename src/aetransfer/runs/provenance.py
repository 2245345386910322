"""What is needed to reproduce a run, or to doubt it: versions, commit, command, hardware."""

import os
import platform
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from aetransfer.runs.finished import code_version, own_code

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy")


def provenance(allow: Sequence[str]) -> dict[str, Any]:
    """Describe this process: `versions`, `code`, `own_code`, `git`, `command`, `hardware`, all plain data.

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
    found = {"python": platform.python_version()}
    for package in ("aetransfer", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


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
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }
