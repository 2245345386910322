"""From overrides to a checked job, without torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from pydantic import BaseModel

from aetransfer.config.plugins import PROVIDER, config_directory, plugins
from aetransfer.config.sentences import COMPLAINTS, SCHEMAS, Composition, sentence
from aetransfer.errors import UserError

Schema = TypeVar("Schema", bound=BaseModel)

SEARCHPATH = "hydra.searchpath"
# Whose files Hydra finds: its own, and types without values.
OF_HYDRA = ("hydra", "schema")
# As a sentence calls the others.
NAMES = {"main": "aetransfer", "command-line": "--config-dir"}


def composed(
    config_name: str, overrides: list[str], config_dir: str | None = None, with_hydra: bool = False
) -> DictConfig:
    """Compose a config as Hydra would for a single job.

    config_dir: a further folder of groups, as in --config-dir. with_hydra: keep Hydra's own part of it. Raises
    UserError for what can't be composed.
    """
    try:
        config = _composed(config_name, overrides, config_dir)
    except COMPLAINTS as error:
        options = partial(options_of, config_name=config_name, overrides=overrides, config_dir=config_dir)

        def without(key: str) -> DictConfig | None:
            rest = [word for word in overrides if word.lstrip("+~").partition("=")[0] != key]
            try:
                return _composed(config_name, rest, config_dir)
            except (UserError, *COMPLAINTS):
                return None

        raise UserError(sentence(error, config_name, Composition(options, without))) from error
    if not with_hydra:
        with open_dict(config):
            del config["hydra"]
    return config


def options_of(group: str, config_name: str, overrides: Sequence[str] = (), config_dir: str | None = None) -> list[str]:
    """List the names that `group` can be set to, of all folders and packages in which Hydra looks for them.

    overrides: those of the command line, of which some may name more places.
    """
    places = [word for word in overrides if word.lstrip("+").partition("=")[0] == SEARCHPATH]
    with _hydra(config_dir) as hydra:
        found = hydra.config_loader.get_group_options(group, config_name=config_name, overrides=places)
    return [name for name in found if not name.startswith("_")]


def plugins_named(words: Sequence[str], config_name: str, config_dir: str | None = None) -> list[str]:
    """List the packages of the plugins of which a command line's words choose an option.

    words: each with a single value.
    """
    if not plugins():
        return []
    packages = set()
    with _hydra(config_dir) as hydra:
        for override in OverridesParser.create().parse_overrides(list(words)):
            value = override.value()
            for name in value if isinstance(value, list) else [value]:
                owners = _owners(hydra, f"{override.key_or_group}/{name}")
                packages |= {each.removeprefix(PROVIDER) for each in owners[:1] if each.startswith(PROVIDER)}
    return sorted(packages)


def checked(config: DictConfig, schema: type[Schema]) -> Schema:
    """Check a composed config against its schema. Raises UserError naming each key that is wrong."""
    try:
        return schema.model_validate(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    except COMPLAINTS as error:
        config_name = next(name for name, known in SCHEMAS.items() if known is schema)
        raise UserError(sentence(error, config_name)) from error


def _composed(config_name: str, overrides: list[str], config_dir: str | None) -> DictConfig:
    with _hydra(config_dir) as hydra:
        try:
            config = hydra.compose_config(
                config_name, overrides, run_mode=RunMode.RUN, from_shell=False, with_log_configuration=False
            )
            _check_owners(hydra, config)
            return config
        except (UserError, *COMPLAINTS):
            raise
        except ValueError as error:
            # A file that is not UTF-8, say, of which Hydra does not tell the name.
            raise UserError(f"The config can't be composed ({error}).") from error


def _owners(hydra: Hydra, option: str) -> list[str]:
    """Say who has a file of an option's name, as Hydra calls them, first the one that it takes."""
    sources = hydra.config_loader.get_sources()
    return [each.provider for each in sources if each.provider not in OF_HYDRA and each.is_config(option)]


def _check_owners(hydra: Hydra, config: DictConfig) -> None:
    """Raise UserError for a chosen option that two have: neither is quietly taken for the other.

    A plugin that the command does not use stands in nobody's way: the program's own files come first.
    """
    allowed = OmegaConf.select(config, "allow") or ()
    unused = [f"{PROVIDER}{each.package}" for each in plugins() if each.package not in allowed]
    for group, value in config.hydra.runtime.choices.items():
        for name in [value] if isinstance(value, str) else value or ():
            option = f"{group.partition('@')[0]}/{name}"
            owners = _owners(hydra, option)
            if owners[:1] == ["main"]:
                owners = [each for each in owners if each not in unused]
            if len(owners) > 1:
                first, second = (NAMES.get(each, f"the {each}") for each in owners[:2])
                raise UserError(f"{first} and {second} both have {option}.yaml: rename that of {second}.")


@contextmanager
def _hydra(config_dir: str | None) -> Iterator[Hydra]:
    """Set Hydra up as its own command line does: what a search path names comes beside --config-dir."""
    search_path = create_config_search_path(str(config_directory()))
    if config_dir is not None:
        folder = Path(config_dir).absolute()
        if not folder.is_dir():
            raise UserError(f"--config-dir {config_dir} is no folder.")
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    before = get_gh_backup()
    version.setbase("1.3")
    try:
        yield Hydra.create_main_hydra2("aetransfer", search_path)
    finally:
        restore_gh_from_backup(before)
