"""Commands in processes of their own: each in a new one, or many in one that must stay without torch."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Never

ROOT = Path(__file__).parents[1]


def run_command(
    *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m aetransfer.<words>`. env: what is set beside this process's own environment."""
    module, *rest = words
    return subprocess.run(
        [sys.executable, "-m", f"aetransfer.{module}", *rest],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
    )


@dataclass(frozen=True)
class Answer:
    """code, err: how a command line ended. torch: whether torch was imported by then. trains: whether a job got there."""

    code: int
    err: str
    torch: bool
    trains: bool


class TorchlessProcess:
    """Runs command lines one after another in a process that has not imported torch, and can't train.

    A process for each would spend a second on imports, and in the tests' own process torch is there already.
    """

    def __init__(self, cwd: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.commands"],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "TorchlessProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()

    def __call__(self, *words: str) -> Answer:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return Answer(**json.loads(self._process.stdout.readline()))


_training: list[Any] = []  # the jobs of a command line that nothing refused


def _answer(module: str, *words: str) -> Answer:
    err, code = io.StringIO(), 0
    _training.clear()
    sys.argv = [module, *words]
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        try:
            import_module(f"aetransfer.{_module_of(module)}").main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
        except Exception as error:
            code = 1
            print(f"Traceback: {type(error).__name__}: {error}", file=sys.stderr)
    return Answer(code, err.getvalue(), "torch" in sys.modules, bool(_training))


def _module_of(command: str) -> str:
    """Return where a command's `main` is: `report` is a folder."""
    return "report.__main__" if command == "report" else command


class _Stages(ModuleType):
    """Stands for the module that trains, and imports torch."""

    @staticmethod
    def run(job: Any, overrides: list[str]) -> Never:
        _training.append(job)
        raise ImportError("aetransfer.training.stages is not imported here.")


def _serve() -> None:
    sys.modules["aetransfer.training.stages"] = _Stages("stages")
    for line in sys.stdin:
        print(json.dumps(asdict(_answer(*json.loads(line)))), flush=True)


if __name__ == "__main__":
    _serve()
