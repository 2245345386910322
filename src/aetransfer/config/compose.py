"""From overrides to a checked job, without torch."""

from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from aetransfer.config.groups import config_directory
from aetransfer.config.quoting import quoted
from aetransfer.config.schema import Job
from aetransfer.config.sentences import COMPLAINTS, SCHEMAS, sentence
from aetransfer.errors import UserError
from aetransfer.printable import in_utf8

Schema = TypeVar("Schema", bound=BaseModel)


def composed(
    config_name: str, overrides: list[str], config_dir: str | None = None, with_hydra: bool = False
) -> DictConfig:
    """Compose a config as Hydra would for a single job.

    config_dir: a further folder of groups, as in --config-dir. with_hydra: keep Hydra's own part of it.
    """
    more = []
    if config_dir is not None:
        folder = Path(config_dir).absolute()
        if not folder.is_dir():
            raise UserError(f"--config-dir {config_dir} is no folder.")
        more = [f"hydra.searchpath=[{quoted(f'file://{folder}')}]"]
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
            return compose(config_name, overrides=[*overrides, *more], return_hydra_config=with_hydra)
    except COMPLAINTS:
        raise
    except ValueError as error:
        # A file that is not UTF-8, say, of which Hydra does not tell the name.
        raise UserError(f"The config can't be composed ({error}).") from error


def checked(config: DictConfig, schema: type[Schema]) -> Schema:
    """Check a composed config against its schema. Raises UserError naming each key that is wrong."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        if schema is Job:
            _check_utf8(plain)
        return schema.model_validate(plain)
    except COMPLAINTS as error:
        config_name = next(name for name, known in SCHEMAS.items() if known is schema)
        raise UserError(sentence(error, config_name)) from error


def _check_utf8(node: Any, place: str = "") -> None:
    """Raise UserError for a value, such as a folder's name, that could not be written into a run's config.yaml."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            _check_utf8(value, f"{place}.{key}" if place else str(key))
    elif isinstance(node, str) and (shown := in_utf8(node)) != node:
        raise UserError(f"{place}={shown} is not UTF-8, and a run keeps its config in UTF-8: rename it, or link to it.")
