"""YAML and JSON that anybody may have written: plain data of a size that a run really has, or a ValueError.

A short file can stand for more than fits into memory: by aliases of aliases, or by nesting that overflows the stack.
"""

import json
from pathlib import Path
from typing import Any

import yaml

# libyaml reads 500 configs in a second, Python alone in ten.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MOST_BYTES = 32_000_000
DEEPEST = 50


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return a regular file's content. Raises OSError, and ValueError for more than `most` bytes."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most / 1e6:g} MB")
    return content


def last_lines(path: Path, count: int, most: int = 64_000) -> list[str]:
    """Return the last lines of a regular file, however large; none where there is no file, or a link to one."""
    if path.is_symlink() or not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read(most).decode(errors="replace").splitlines()[-count:]


def read_json(path: Path) -> Any:
    """Return a JSON file's content. Raises OSError, and ValueError for what is no JSON."""
    try:
        return json.loads(read_bytes(path))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_yaml(path: Path) -> Any:
    """Return a YAML file's content; no tag makes an object. Raises OSError, and ValueError for what is no YAML."""
    content = read_bytes(path)
    try:
        _check_shape(content)
        return yaml.load(content, LOADER)
    except yaml.MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem}{place}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _check_shape(content: bytes) -> None:
    depth = 0
    for event in yaml.parse(content, LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"it has an alias (*{event.anchor}), which no run's config has")
