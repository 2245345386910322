"""From overrides to a checked job, without torch."""

from pathlib import Path
from typing import TypeVar

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from aetransfer.config.groups import config_directory
from aetransfer.config.quoting import quoted
from aetransfer.config.sentences import COMPLAINTS, SCHEMAS, sentence
from aetransfer.errors import UserError

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
        return schema.model_validate(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    except COMPLAINTS as error:
        config_name = next(name for name, known in SCHEMAS.items() if known is schema)
        raise UserError(sentence(error, config_name)) from error
