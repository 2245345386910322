"""What is needed to reproduce a run, or to doubt it: versions, commit, command, hardware."""

import os
import platform
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from aetransfer.runs.finished import code_version

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy")


def provenance() -> dict[str, Any]:
    """Describe this process: `versions`, `code`, `git`, `command`, `hardware`, all plain data."""
    return {
        "versions": _versions(),
        "code": code_version(),
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
    """Return the commit this code is at and whether files differ from it; None outside a checkout or without git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

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
