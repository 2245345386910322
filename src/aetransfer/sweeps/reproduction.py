"""What is needed to do a report's runs again: commands, versions, commits, hardware and seeds, each said once."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

from aetransfer.sweeps.collect import CollectedRun
from aetransfer.sweeps.numbers import ranges

# Where a multirun was written is no part of what it computed, and would differ each time it is launched.
WHERE = "hydra.sweep.dir="


def reproduction(runs: Sequence[CollectedRun]) -> list[tuple[str, list[str]]]:
    """Return headings, each with its lines."""
    facts = [
        ("Commands", _distinct(command(run) for run in runs)),
        ("Seeds", [ranges(run.seed for run in runs)]),
        ("Versions", _distinct(_versions(run.result.get("versions")) for run in runs)),
        ("Code", _distinct(_code(run.result.get("git")) for run in runs)),
        ("Hardware", _distinct(_hardware(run.result.get("hardware")) for run in runs)),
    ]
    return [(heading, lines) for heading, lines in facts if lines]


def command(run: CollectedRun) -> str:
    """Return what to type for a run: its own command, or where a cluster's wrapper started it, its overrides."""
    program, *words = run.result.get("command") or [""]
    if PurePath(program).name not in ("train.py", "aetransfer-train"):
        words = run.result.get("overrides", [])
    return shlex.join(["python", "-m", "aetransfer.train", *(word for word in words if not word.startswith(WHERE))])


def alone(run: CollectedRun, *more: str) -> str:
    """Return what to type for a run by itself, though it came out of a sweep. more: overrides that come last."""
    words = [word for word in run.result.get("overrides", []) if not word.startswith("hydra.")]
    names = {word.partition("=")[0] for word in more}
    kept = [word for word in words if word.partition("=")[0] not in names]
    return shlex.join(["python", "-m", "aetransfer.train", *kept, *more])


def _distinct(lines: Iterable[str]) -> list[str]:
    return sorted({line for line in lines if line})


def _versions(versions: dict[str, str] | None) -> str:
    return ", ".join(f"{name} {number}" for name, number in (versions or {}).items())


def _code(git: dict[str, Any] | None) -> str:
    if git is None:
        return ""
    return f"commit {git['commit']}{' with uncommitted changes' if git['dirty'] else ''}"


def _hardware(hardware: dict[str, Any] | None) -> str:
    if hardware is None:
        return ""
    threads = f"{hardware['threads']} {'thread' if hardware['threads'] == 1 else 'threads'}"
    machine = f"{hardware['machine']}, {hardware['cpus']} CPU cores, {threads}"
    return ", ".join([machine, *hardware["gpus"]])
