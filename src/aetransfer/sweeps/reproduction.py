"""What is needed to do a report's runs again: commands, versions, commits, hardware and seeds, each said once."""

from collections.abc import Iterable, Sequence
from typing import Any

from aetransfer.commands import launched
from aetransfer.sweeps.collect import CollectedRun
from aetransfer.sweeps.numbers import ranges


def reproduction(runs: Sequence[CollectedRun]) -> list[tuple[str, list[str]]]:
    """Return headings, each with its lines."""
    facts = [
        ("Commands", _distinct(launched(run.result) for run in runs)),
        ("Seeds", [ranges(run.seed for run in runs)]),
        ("Versions", _distinct(_versions(run.result.get("versions")) for run in runs)),
        ("Code", _distinct(_code(run.result.get("git")) for run in runs)),
        ("Hardware", _distinct(_hardware(run.result.get("hardware")) for run in runs)),
    ]
    return [(heading, lines) for heading, lines in facts if lines]


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
