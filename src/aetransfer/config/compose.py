"""From overrides to a checked job, without torch; and from what Hydra, OmegaConf or pydantic raise to one sentence."""

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from yaml import YAMLError

from aetransfer.config.schema import TAGS, EvaluationRequest, Job
from aetransfer.errors import UserError

COMPLAINTS = (HydraException, OmegaConfBaseException, ValidationError, YAMLError)


def config_directory() -> Path:
    """Return where the config groups are: in the package once it is installed, else at the top of the checkout."""
    installed = Path(__file__).parents[1] / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "configs"


def composed(config_name: str, overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Compose a config as Hydra would for a single job. config_dir: a further folder of groups, as in --config-dir."""
    more = [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir else []
    with initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        return compose(config_name, overrides=[*overrides, *more])


Schema = TypeVar("Schema", Job, EvaluationRequest)


def checked(config: DictConfig, schema: type[Schema]) -> Schema:
    """Check a composed config against its schema. Raises UserError naming each key that is wrong."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(sentence(error)) from error
    try:
        return schema.model_validate(plain)
    except ValidationError as error:
        raise UserError(_invalid(error, schema)) from error


def sentence(error: Exception) -> str:
    """Say in one sentence what is wrong with a config, with the nearest valid name where a name is at fault."""
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException):
        return _missing_choice(error)
    if isinstance(error, ConfigCompositionException):
        key = re.search(r"Could not override '([^']+)'", text)
        if key:
            return _unknown_key(key[1])
        cause = error.__cause__
        if cause is not None:
            text = f"{text} {' '.join(str(cause).split())}"
    if isinstance(error, OmegaConfBaseException):
        key = getattr(error, "full_key", None)
        text = text.split(" full_key:")[0] + (f" (at {key})" if key else "")
    return text if text.endswith(".") else f"{text}."


def _missing_choice(error: MissingConfigException) -> str:
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, choice = missing.rpartition("/")
    known = [option for option in error.options or [] if not option.startswith("_")]
    if not known:
        groups = config_groups()
        return f"{group or missing} is no config group{_near(group or missing, groups)}."
    near = _near(choice, known)
    return f"{group}={choice} is no choice of {group}{near}: there are {', '.join(known)}."


def _unknown_key(key: str) -> str:
    base = key.lstrip("+~").split("@")[0]
    known = [*config_groups(), *_known_keys(Job)]
    return f"{base} is neither a config key nor a config group{_near(base, known)}."


def config_groups() -> list[str]:
    return sorted(entry.name for entry in config_directory().iterdir() if entry.is_dir())


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """List the dotted names of everything a model takes, its alternatives' included."""
    names = []
    for field, info in model.model_fields.items():
        name = f"{prefix}{info.alias or field}"
        names.append(name)
        for kind in _models_in(info.annotation):
            names += _known_keys(kind, f"{name}.")
    return names


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for argument in getattr(annotation, "__args__", ()) for kind in _models_in(argument)]


def _near(name: str, known: list[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def _invalid(error: ValidationError, schema: type[BaseModel]) -> str:
    known = _known_keys(schema)
    complaints: dict[str, str] = {}
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"] if _is_key(str(part)))
        # Alternatives of one value (a number or "auto") each complain: the first says enough.
        if place in complaints:
            continue
        if problem["type"] == "extra_forbidden":
            complaints[place] = f"{place} is no config key{_near(place, known)}"
        elif problem["type"] == "value_error":
            complaints[place] = f"{place + ': ' if place else ''}{problem['ctx']['error']}"
        else:
            complaints[place] = f"{place}={problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
    return "; ".join(complaint.rstrip(".?") for complaint in complaints.values()) + "."


def _is_key(part: str) -> bool:
    """Tell config keys from the names that pydantic gives to a union's alternatives."""
    return part not in TAGS and not part.startswith(("literal[", "constrained-"))
