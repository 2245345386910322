"""What Hydra, OmegaConf, YAML or pydantic raise about a config, said in one sentence with the nearest valid name."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, get_origin

import yaml
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from aetransfer.config.nodes import wrong_value
from aetransfer.config.other_names import what_instead
from aetransfer.config.plugins import choices_of, config_directory, groups_of
from aetransfer.config.requests import EmbedRequest, ExportRequest, PredictRequest
from aetransfer.config.schema import TAGS, EvaluationRequest, Job
from aetransfer.config.signatures import GIVEN_LATER, OF_NODES, OFFERED, PACKAGES, parameters_of
from aetransfer.errors import UserError
from aetransfer.origin import pip_install
from aetransfer.printable import printable

COMPLAINTS = (HydraException, OmegaConfBaseException, ValidationError, yaml.YAMLError)

# By the name of their config, what the commands take.
SCHEMAS: dict[str, type[BaseModel]] = {
    "train": Job,
    "evaluate": EvaluationRequest,
    "embed": EmbedRequest,
    "predict": PredictRequest,
    "export": ExportRequest,
}
# Groups whose files are merged over the whole config: the keys in them say nothing about the group.
GLOBAL = ("experiment", "debug", "sweep", "launcher")
# What is installed beside the program, and the extra that brings it.
EXTRAS = {"hydra/launcher/joblib": "parallel", "hydra/launcher/submitit_slurm": "slurm"}


class Composition(NamedTuple):
    """What a command tried to compose. options_of: lists what a group can be set to. without: what comes of it without
    the overrides of a key, None where that can't be composed either.
    """

    options_of: Callable[[str], list[str]] = choices_of
    without: Callable[[str], DictConfig | None] = lambda key: None


# A sentence then knows the program's own files alone.
OURS_ALONE = Composition()


def said(error: Exception, config_name: str) -> str:
    """Say what the user can mend in one line that ends in one period, whatever a library's text had in it."""
    text = str(error) if isinstance(error, UserError) else sentence(error, config_name)
    return f"{printable(' '.join(text.split())).rstrip('.')}."


def sentence(error: Exception, config_name: str, composition: Composition = OURS_ALONE) -> str:
    """Say in one sentence what is wrong with a config, with the nearest valid name where a name is at fault."""
    match error:
        case ValidationError():
            return _invalid(error, config_name)
        case yaml.MarkedYAMLError(problem_mark=yaml.Mark() as mark):
            return f"{mark.name} is no YAML: {error.problem} in line {mark.line + 1}."
        case OverrideParseException():
            return _malformed(error)
        case MissingConfigException():
            return _missing_choice(error, config_name, composition)
        case ConfigCompositionException():
            return _uncomposable(error, config_name, composition)
        case OmegaConfBaseException():
            return _unresolvable(error, config_name)
    return f"{_flat(error)}."


def _flat(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".").replace(". ", "; ")


def _malformed(error: OverrideParseException) -> str:
    lines = str(error).splitlines()[:-1]  # the last one points to Hydra's documentation
    reason = lines[0] if len(lines) == 1 else lines[1].strip()
    written = error.override or "''"
    return f"{written} is no override ({reason}): write key=value, and quote a value with special characters."


def _missing_choice(error: MissingConfigException, config_name: str, composition: Composition) -> str:
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    if missing in EXTRAS:
        return f"{missing} is not installed: {pip_install(EXTRAS[missing])}."
    group, _, choice = missing.rpartition("/")
    known = [option for option in error.options or choices_of(group) if not option.startswith("_")]
    if not known:
        name = group or missing
        return f"{_where(error, config_name)}{name} is no config group{_near(name, groups_of(config_name))}."
    offered = ", ".join(known)
    where = _where(error, config_name)
    if group == "pretrain":
        known = composition.options_of("model")
        offered = f"{', '.join(known)}, or the path of a run directory, checkpoint or encoder"
        if choice in known:
            # On the command line it would have been understood.
            return f"{where}pretrain: {choice} is written as override /model@pretrain: {choice} in a file."
    return f"{where}{group}={choice} is no choice of {group}{_near(choice, known)}: there are {offered}."


def _uncomposable(error: ConfigCompositionException, config_name: str, composition: Composition) -> str:
    text = _flat(error)
    if not text and isinstance(error.__cause__, COMPLAINTS):
        return sentence(error.__cause__, config_name, composition)
    place = _where(error, config_name)
    if found := re.search(r"Could not override '([^']+)'|config group '([^']+)' does not exist", text):
        # The cause knows the whole key; `@_global_` is how a file's own overrides of groups look from here.
        key = getattr(error.__cause__, "full_key", None) or (found[1] or found[2]).removesuffix("@_global_")
        if place.startswith("in experiment/") and key in ("data@pretrain.data", "model@pretrain"):
            return f"{place}{key} sets up a pretraining: leave out the experiment, or the pretrain that replaces it."
        return f"{place}{_unknown(key, config_name, composition)}."
    if found := re.search(r"Could not append to config.* already at '([^']+)'|Multiple values for ([^;]+)", text):
        return f"{place}{found[1] or found[2]} is set already: leave out the + before it."
    if found := re.search(r"Could not delete from config; The value of '([^']+)'", text):
        return f"{place}{found[1]} has another value than the one to leave out: write ~{found[1]}."
    if found := re.search(r"Could not delete (?:from config; )?'([^'=]+)[^']*'", text):
        return f"{place}there is no {found[1]} to leave out{_near(found[1], _known(config_name))}."
    if found := re.search(r"raised while composing config: (.*?)(?: full_key:|$)", text):
        return f"{place}{found[1]}."
    cause = f": {_flat(error.__cause__).partition(' full_key:')[0]}" if error.__cause__ else ""
    return f"{text}{cause}."


def _where(error: Exception, config_name: str) -> str:
    """Name the file that Hydra names, unless it is the command's or Hydra's own."""
    found = re.match(r"In '([^']+)'", str(error))
    return f"in {found[1]}.yaml, " if found and found[1] not in (config_name, "hydra/config") else ""


def _unresolvable(error: OmegaConfBaseException, config_name: str) -> str:
    text, _, rest = _flat(error).partition(" full_key: ")
    key = error.full_key or rest.split(" ")[0]
    if isinstance(error, MissingMandatoryValue):
        return f"{key} must be given: add {key}=... to the command."
    if found := re.fullmatch(r"Interpolation key '(.+)' not found", text):
        return f"{key} refers to {found[1]}, which is no config key{_near(found[1], _known(config_name))}."
    reason = re.sub(r"^\w+ raised while resolving interpolation: ", "", text).strip('"')
    return f"{key}: {reason}." if key else f"{reason}."


def _unknown(key: str, config_name: str, composition: Composition = OURS_ALONE) -> str:
    if moved := re.match(r"(pretrain\.)?model\.optimizer\b", key):
        stage = moved[1] or ""
        return f"{key} has moved: write {stage}optimizer.lr and the like, and {stage}scheduler for its schedule"
    if key == "model@pretrain.model":
        return f"{key} has moved: write pretrain=NAME, in a file model@pretrain: NAME"
    if key in groups_of(config_name):
        return f"{key} is not chosen: add {key}=NAME, of {', '.join(composition.options_of(key))}"
    if (instead := what_instead(key)) is not None:
        return instead
    taken = _taken_at(key, composition)
    if taken is not None and taken.is_foreign:
        # What is called like that is another class's.
        return _not_taken(key, taken)
    # A pretraining's data and model come from the same files.
    names = {key, re.sub(r"^pretrain\.(?=data|model|optimizer|scheduler)", "", key)}
    owners = [choice for choice, keys in _keys_of_files(config_name).items() if names & set(keys)]
    if owners:
        which = "which is not chosen" if len(owners) == 1 else "of which none is chosen"
        return f"{key} belongs to {', '.join(owners)}, {which}"
    if taken is not None:
        return _not_taken(key, taken)
    return f"{key} is no config key or group{_near(key, _known(config_name), alike=0.75)}"


@dataclass(frozen=True)
class _Taken:
    """What the class of the node at `place` takes. is_foreign: it is none of the program's or of Lightning's."""

    place: str
    names: list[str]
    is_foreign: bool


def _not_taken(key: str, taken: _Taken) -> str:
    place, names = taken.place, taken.names
    within = key if key.startswith(place) else key.removeprefix("pretrain.")
    name = within.removeprefix(place).lstrip(".").partition(".")[0]
    if name in names and key.startswith(place):
        return f"{key} is in no file, but its class takes it: write +{key}=VALUE"
    if near := difflib.get_close_matches(name, names, n=1):
        return f"{key} is no config key or group (did you mean {place}.{near[0]})"
    hint = f" ({place} takes {', '.join(names)})" if names else ""
    return f"{key} is no config key or group{hint}"


def _taken_at(key: str, composition: Composition) -> _Taken | None:
    """Return what the class takes in whose node a key stands; None where it stands in no class's.

    Nothing is imported: a class whose signature can't be read takes nothing that could be suggested.
    """
    config = composition.without(key) if "." in key else None
    if config is None:
        return None
    # A declared pretraining takes the transfer's encoder.
    parts = key.removeprefix("pretrain." if key.startswith("pretrain.encoder.") else "").split(".")
    for length in range(len(parts) - 1, 0, -1):
        place = ".".join(parts[:length])
        node = OmegaConf.select(config, place, throw_on_missing=False)
        if isinstance(node, DictConfig) and isinstance(target := node.get("_target_"), str):
            role = parts[length - 1]
            later = (*GIVEN_LATER.get(role, ()), *OFFERED.get(role, ()))
            names = [*parameters_of(target, OmegaConf.select(config, "allow") or ()), *OF_NODES.get(role, ())]
            is_foreign = target.partition(".")[0] not in PACKAGES
            return _Taken(place, [name for name in names if name not in later], is_foreign)
    return None


def _near(name: str, known: list[str], alike: float = 0.6) -> str:
    """Suggest the nearest name. One that only lacks its group, or has a wrong one, comes before one of like letters.

    alike: the share of letters from which on names are near. Among hundreds of keys some have as many by chance.
    """
    if name in known:
        return ""
    same = [other for other in known if other.rpartition(".")[2] == name.rpartition(".")[2]]
    # A letter less in a long name is a slip, whatever else may end in the same word.
    found = (
        difflib.get_close_matches(name, known, n=1, cutoff=0.97)
        or difflib.get_close_matches(name, same, n=1, cutoff=0)
        or difflib.get_close_matches(name, known, n=1, cutoff=alike)
    )
    return f" (did you mean {found[0]})" if found else ""


def _known(config_name: str) -> list[str]:
    """List the groups and the dotted names of all keys: the schema's and, where that is open, those of the files."""
    names = [*groups_of(config_name), *_keys_of_model(SCHEMAS[config_name])]
    if config_name == "train":
        names += ["data@pretrain.data", "model@pretrain", "optimizer@pretrain.optimizer", "pretrain.augment"]
        names += ["views", "pretrain.views"]
    for keys in _keys_of_files(config_name).values():
        names += keys
    # A declared pretraining takes the transfer's encoder.
    return [name for name in dict.fromkeys(names) if not name.startswith("pretrain.encoder")]


@cache
def _keys_of_files(config_name: str) -> dict[str, list[str]]:
    """List the dotted keys of each choice of a group, by `group=choice`."""
    return {
        f"{group}={choice}": _keys_of_file(group, choice)
        for group in groups_of(config_name)
        if group not in GLOBAL
        for choice in choices_of(group)
    }


def _keys_of_file(group: str, choice: str) -> list[str]:
    text = (config_directory() / group / f"{choice}.yaml").read_text()
    # A model's file chooses its optimiser too, so it says itself where its keys belong.
    where = "" if text.startswith("# @package _global_") else "data.augment." if group == "augment" else f"{group}."
    return _keys_of_node(yaml.safe_load(text), where)


def _keys_of_model(model: type[BaseModel], prefix: str = "") -> list[str]:
    """List the dotted names of everything a model takes, its alternatives' included."""
    names = []
    for field, info in model.model_fields.items():
        name = f"{prefix}{info.alias or field}"
        names.append(name)
        for kind in _models_in(info.annotation):
            names += _keys_of_model(kind, f"{name}.")
    return names


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is dict:
        return []
    return [kind for argument in getattr(annotation, "__args__", ()) for kind in _models_in(argument)]


def _keys_of_node(node: Any, prefix: str) -> list[str]:
    if not isinstance(node, dict):
        return []
    names = []
    for key, value in node.items():
        if key != "defaults":
            names += [f"{prefix}{key}", *_keys_of_node(value, f"{prefix}{key}.")]
    return names


def _invalid(error: ValidationError, config_name: str) -> str:
    complaints: dict[str, str] = {}
    wrong = set()
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"] if _is_key(str(part)))
        # A pretraining repeats the seed and the encoder, and would repeat what is wrong with them.
        repeated = (place.removeprefix("pretrain."), problem["type"], repr(problem["input"]))
        if repeated in wrong:
            continue
        wrong.add((place, *repeated[1:]))
        match problem["type"]:
            case "extra_forbidden" if place in GLOBAL:
                text = f"{place} is no config key: begin its file with the line `# @package _global_`"
            case "extra_forbidden":
                text = _unknown(place, config_name)
            case "value_error":
                text = f"{place} {problem['ctx']['error']}".lstrip()
            case "missing":
                text = f"{place} is missing"
            case "union_tag_not_found":
                text = f"{place}.{problem['ctx']['discriminator'].strip(chr(39))} is missing"
            case "union_tag_invalid":
                name, tags = problem["ctx"]["discriminator"].strip("'"), problem["ctx"]["expected_tags"]
                text = f"{place}.{name}={problem['ctx']['tag']} should be one of {tags}"
            case _:
                text = wrong_value(place, problem["input"], problem["msg"])
        # Alternatives of one value (a number or "auto") each complain.
        if place in complaints:
            complaints[place] += f" or {text.partition(' should be ')[2]}"
        else:
            complaints[place] = text
    return "; ".join(complaints.values()) + "."


def _is_key(part: str) -> bool:
    """Tell config keys from the names that pydantic gives to a union's alternatives."""
    return part not in TAGS and not part.startswith(("literal[", "constrained-", "function-"))
