"""Commands as they are printed: what can be pasted into a shell, in the folder in which the run's own was given.

Beside the overrides it takes what no run's config has: the further folder of config files, and `allow`.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path, PurePath
from typing import Any

from aetransfer.config.instantiate import sets_allow

# How several jobs were started, which is nothing of a single one; and what would do a finished run again.
OF_LAUNCHES = ("sweep", "launcher", "hydra", "rerun")
TRANSPLANTED = "transfer.transplanted"
# By what started a run: the command that its words are of. Anything else is a cluster's wrapper.
STARTED_BY = {
    "train.py": "train",
    "aetransfer-train": "train",
    "submit.py": "submit",
    "aetransfer-submit": "submit",
}


def command(module: str, words: Sequence[str], config_dir: str | None = None) -> str:
    """Write a command of this program. config_dir: the folder for its --config-dir; None: there is none."""
    further = [] if config_dir is None else ["--config-dir", config_dir]
    return shlex.join(["python", "-m", f"aetransfer.{module}", *further, *words])


def config_dir_in(words: Sequence[str]) -> str | None:
    """Return the absolute path of the folder that a command line names with --config-dir, None for none."""
    named = _parsed(words).get("config_dir")
    return str(Path(named).absolute()) if named else None


def config_dir() -> str | None:
    """Return that of this process's own command line, to which the front door adds what the environment says."""
    return config_dir_in(sys.argv[1:])


def launched(result: Mapping[str, Any]) -> str:
    """Return the command that started a run, with all of its sweep. result: the run's result.json."""
    program, *words = result.get("command") or [""]
    module = STARTED_BY.get(PurePath(program).name)
    parsed = _parsed(words)
    if module is None or not parsed:
        return command("train", result.get("overrides", []), _config_dir_of(result))
    # Where a sweep was written is no part of what it computed, and would differ each time it is launched.
    overrides = [word for word in parsed["overrides"] if not word.startswith("hydra.sweep.dir=")]
    multirun = ["-m"] if parsed["multirun"] and module == "train" else []
    return command(module, [*multirun, *overrides], _config_dir_of(result))


def again(result: Mapping[str, Any], *more: str) -> str:
    """Return the command of a run by itself, though it came out of a sweep. more: overrides that come last."""
    names = {key_of(word) for word in more}
    kept = [
        word
        for word in result.get("overrides", [])
        if key_of(word).partition(".")[0].partition("/")[0] not in OF_LAUNCHES and key_of(word) not in names
    ]
    return command("train", [*kept, *more], _config_dir_of(result))


def of_control(result: Mapping[str, Any], control: str, config: Mapping[str, Any]) -> str:
    """Return the command of a transfer's control: the same but for the arm, whose own settings mean nothing there.

    config: the transfer's, by dotted key.
    """
    overrides = result.get("overrides", [])
    kept = [
        word for word in overrides if not key_of(word).startswith("transfer.") or key_of(word) == "transfer.channels"
    ]
    # What a file sets stays set when another arm is chosen.
    in_a_file = config.get(TRANSPLANTED) is not None and all(key_of(word) != TRANSPLANTED for word in overrides)
    more = [f"++{TRANSPLANTED}=null"] if in_a_file else []
    return again({**result, "overrides": kept}, f"transfer={control}", *more)


def allowed(result: Mapping[str, Any]) -> list[str]:
    """Return the words by which a run was allowed to call other packages."""
    return [word for word in result.get("overrides", []) if sets_allow(word)]


def _config_dir_of(result: Mapping[str, Any]) -> str | None:
    # Runs of before it was noted have it in their command alone.
    noted = result.get("config_dir")
    return noted if isinstance(noted, str) else config_dir_in((result.get("command") or [""])[1:])


def _parsed(words: Sequence[str]) -> dict[str, Any]:
    """Read a command line as Hydra does; nothing of one that it does not take, such as that of a test runner."""
    # Not imported by a program that loads a model, here and below.
    from hydra._internal.utils import get_args_parser

    with suppress(SystemExit), redirect_stderr(StringIO()):
        return vars(get_args_parser().parse_intermixed_args(list(words)))
    return {}


def key_of(word: str) -> str:
    """Return the key that an override is of."""
    return word.lstrip("+~").partition("=")[0]


def as_read(value: str) -> Any:
    """Return what Hydra makes of a value on the command line, None for what it can't read.

    Spaces, parentheses, = and letters beyond ASCII mean something to it.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(f"key={value}").value()
    except (HydraException, ValueError):
        return None


def quoted(text: str) -> str:
    """Write a text as a value that Hydra reads as just that text: in quotes where it needs them."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return text if as_read(text) == text else QuotedString(text, Quote.single).with_quotes()
