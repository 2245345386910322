"""The one place that turns a `_target_` into an object. Only named packages may be called, each for its own purpose.

The name is checked twice: as it is written, and as the module that the found object really comes from, because
`aetransfer.networks.conv4.os.system` begins with an allowed name too. Packages beside the program's own are named on
the command line, by the user: no file that is loaded can allow itself anything. Of a plugin's package only classes are
called, of the kind that a role asks for: see `BASES`.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal, get_origin

from pydantic import TypeAdapter, ValidationError

from aetransfer.config.nodes import Node, Target, wrong_value
from aetransfer.config.plugins import plugin_of
from aetransfer.config.signatures import (
    OFFERED,
    PACKAGES,
    declared,
    line_of,
    names_in,
    names_no_class,
    parameters_of,
    readable,
    value_in,
)
from aetransfer.errors import UserError
from aetransfer.origin import pip_install

Role = Literal[
    "encoder",
    "reader",
    "augmentation",
    "model",
    "head",
    "arm",
    "metric",
    "measure",
    "optimizer",
    "scheduler",
    "callback",
    "logger",
]

# Where a config finds what. The rest of the program writes files and starts processes, and is nobody's building block.
OWN: dict[Role, tuple[str, ...]] = {
    "encoder": ("aetransfer.networks",),
    "reader": ("aetransfer.data",),
    "augmentation": ("aetransfer.data.augmentation", "aetransfer.data.float_augmentation", "aetransfer.data.mixing"),
    "model": ("aetransfer.models",),
    "head": ("aetransfer.networks",),
    "arm": ("aetransfer.transfer.arms",),
    "metric": ("torchmetrics.classification", "torchmetrics.regression", "torchmetrics.segmentation"),
    "measure": ("aetransfer.evaluation",),
    "optimizer": ("torch.optim",),
    "scheduler": ("aetransfer.models.optimisation", "torch.optim.lr_scheduler"),
    "callback": ("aetransfer.training.callbacks", "pytorch_lightning.callbacks"),
    "logger": ("aetransfer.training.callbacks.curves", "pytorch_lightning.loggers"),
}
# What a model is a subclass of.
MODELS = "aetransfer.models.base"
PRETEXT, TASK = f"{MODELS}.Pretext", f"{MODELS}.Task"
# What a plugin's class has to be a subclass of, in each role.
BASES: dict[Role, tuple[str, ...]] = {
    "encoder": ("aetransfer.networks.encoder.Encoder",),
    "reader": ("torch.utils.data.Dataset", "pytorch_lightning.LightningDataModule"),
    "augmentation": (
        "aetransfer.data.augmentation.Augmentation",
        "aetransfer.data.mixing.Mix",
        "torch.nn.Module",
    ),
    "model": (PRETEXT, TASK),
    "head": ("torch.nn.Module",),
    "arm": ("aetransfer.transfer.arms.Arm",),
    "metric": ("torchmetrics.Metric",),
    "measure": ("aetransfer.evaluation.measure.Measure",),
    "optimizer": ("torch.optim.Optimizer",),
    "scheduler": ("torch.optim.lr_scheduler.LRScheduler",),
    "callback": ("pytorch_lightning.Callback",),
    "logger": ("pytorch_lightning.loggers.Logger",),
}
# What mixes examples is a subclass of its Mix.
MIXING = "aetransfer.data.mixing"
# What a logger sends to, by the logger's name: a package, and the extra of this one that brings it.
SERVICES = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}
# The same of an encoder.
TIMM = "aetransfer.networks.backbone.Timm"
LIBRARIES = {TIMM: "timm"}


# What a measure may need of a model, and how a sentence says that.
NEEDS = {
    "reconstruct": "reconstructs its inputs",
    "decode": "decodes codes",
    "sample": "draws samples",
    "posterior": "gives a posterior",
    "classify": "tells classes apart",
    "regress": "predicts values",
    "label": "tells which labels are there",
}


def check_allow(allow: Sequence[str], overrides: Sequence[str]) -> None:
    """Raise UserError for allowed packages that a file named, and not the command line's `overrides`."""
    if allow and not any(map(sets_allow, overrides)):
        raise UserError(
            f"allow=[{','.join(allow)}] is set in a file, and no file may say whose code is run: if you trust these "
            "packages, name them on the command line."
        )


def sets_allow(override: str) -> bool:
    return override.lstrip("+").partition("=")[0] == "allow"


def check_allowed(target: str, role: Role, allow: Sequence[str] = ()) -> None:
    """Raise UserError for a name outside the packages allowed for its role, and for a plugin's function.

    Nothing is imported.
    """
    packages = (*OWN[role], *allow)
    if not _below(target, packages):
        if plugin := plugin_of(target):
            raise UserError(
                f"_target_: {target} is of the plugin {plugin}, and the command names none of its options: add "
                f"allow=[{plugin}] to the command line."
            )
        raise UserError(
            f"_target_: {target} is outside the packages that the {role} of a config may come from "
            f"({', '.join(packages)}): if it is yours, add allow=[{target.split('.')[0]}] to the command line."
        )
    if _is_allowed_as_plugin(target, role, allow) and names_no_class(target, readable(allow)):
        raise _no_class_of_plugin(target, role)


def _is_allowed_as_plugin(name: str, role: Role, allow: Sequence[str]) -> bool:
    """Tell whether nothing but a plugin's package, as a whole, allows a name: a module of it is allowed by itself."""
    if _below(name, OWN[role]):
        return False
    plugin = plugin_of(name)
    return plugin is not None and not _below(name, [each for each in allow if each != plugin])


def _no_class_of_plugin(target: str, role: Role) -> UserError:
    return UserError(
        f"_target_: {target} is no subclass of {' or '.join(BASES[role])}, and of a plugin nothing else is called as "
        f"{role}: make it one."
    )


def check_node(
    node: Node, role: Role, allow: Sequence[str] = (), later: Sequence[str] = (), place: str | None = None
) -> None:
    """Raise UserError as `bind` does, as far as the sources tell; nothing is imported.

    place: the key that the node stands at, by which a sentence calls it; None to call it by its class.
    """
    keys = node.as_written()
    target = keys.pop("_target_")
    check_allowed(target, role, allow)
    if _below(target, PACKAGES):
        module, _, name = target.rpartition(".")
        names = names_in(module)
        if names is None:
            raise _not_imported(target, f"No module named {module!r}")
        if name not in names:
            raise _has_no(module, name, names)
    if role == "encoder":
        _check_takes_shape(target, parameters_of(target, allow))
    if (found := declared(target, readable(allow))) is not None:
        _fitted(found.name, found.signature, keys, (*later, *_offered(role, found.signature)), place)
    needed = SERVICES.get(target.rpartition(".")[2]) if role == "logger" else LIBRARIES.get(target)
    if needed is not None and find_spec(needed) is None:
        raise UserError(f"{target} needs {needed}: {pip_install(needed)}.")


def _offered(role: Role, signature: inspect.Signature) -> list[str]:
    """Return what a target of a role is given because it asks for it."""
    return [name for name in OFFERED.get(role, ()) if name in signature.parameters]


def locate(target: str, role: Role, allow: Sequence[str] = ()) -> Callable[..., Any]:
    """Import what `target` names. Raises UserError where it is not below an allowed package, or does not exist."""
    check_allowed(target, role, allow)
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, name, None)
    except (ImportError, ValueError) as error:
        raise _not_imported(target, error) from error
    if found is None:
        raise _has_no(module_name, name, dir(module))
    if not callable(found) or not _below(getattr(found, "__module__", ""), (*OWN[role], *allow)):
        raise UserError(f"_target_: {target} is not a class or function of the packages that a config may call.")
    if _is_allowed_as_plugin(found.__module__, role, allow):
        bases = [base.rpartition(".") for base in BASES[role]]
        kinds = tuple(getattr(importlib.import_module(module), name) for module, _, name in bases)
        if not (isinstance(found, type) and issubclass(found, kinds)):
            raise _no_class_of_plugin(target, role)
    return found


def _not_imported(target: str, why: ImportError | ValueError | str) -> UserError:
    return UserError(f"_target_: {target} can't be imported ({why}): correct its name.")


def _has_no(module: str, name: str, names: Sequence[str]) -> UserError:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]})" if near else ""
    return UserError(f"_target_: {module} has no {name}{hint}.")


def _below(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def bind(node: Node | dict[str, Any], role: Role, allow: Sequence[str] = (), later: Sequence[str] = ()) -> partial[Any]:
    """Return the target of a node with its keys as arguments, ready to be called with those it gets `later`.

    Raises UserError for a key that the target does not take, with the nearest that it does, and for one that it needs.
    """
    keys = node.as_written() if isinstance(node, Node) else dict(node)
    target = locate(keys.pop("_target_"), role, allow)
    name = f"{target.__module__}.{target.__qualname__}"
    signature = inspect.signature(target)
    if role == "encoder":
        _check_takes_shape(name, signature.parameters)
    return partial(target, **_fitted(name, signature, keys, (*later, *_offered(role, signature))))


def _check_takes_shape(name: str, parameters: Collection[str]) -> None:
    if "input_shape" not in parameters and {"in_channels", "image_size"} & set(parameters):
        raise UserError(
            f"{name} takes in_channels and image_size, which an encoder is no longer given: have it take input_shape, "
            "which is (channels, height, width) of images, and hand that to super().__init__."
        )


def _fitted(
    name: str, signature: inspect.Signature, keys: dict[str, Any], later: Sequence[str], place: str | None = None
) -> dict[str, Any]:
    """Return the keys with their values as the annotations have them. Raises UserError as `bind`."""
    parameters = signature.parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in () if takes_any else keys:
        if key not in parameters:
            near = difflib.get_close_matches(key, parameters, n=1)
            taken = [each for each in parameters if each not in later]
            hint = f"did you mean {near[0]}" if near else f"it takes {', '.join(taken) or 'nothing'}"
            raise UserError(f"{name} takes no {key} ({hint}).")
    try:
        signature.bind(**keys, **{key: None for key in later if key not in keys})
    except TypeError as error:
        raise UserError(f"{name}: {error}.") from error
    # Only our own annotations are known to be right; but a text, a list or a mapping is no number to anybody, and who
    # lists the values means them.
    if not _below(name, ["aetransfer"]):
        for key in (key for key in keys if key in parameters):
            annotation = parameters[key].annotation
            no_number = annotation in (int, float, bool) and isinstance(keys[key], str | list | dict)
            if no_number or get_origin(annotation) is Literal:
                _typed(key, keys[key], parameters, name, place)
        return keys
    return {key: _typed(key, value, parameters, name, place) for key, value in keys.items()}


def _typed(
    key: str, value: Any, parameters: Mapping[str, inspect.Parameter], name: str, place: str | None = None
) -> Any:
    annotation = parameters[key].annotation if key in parameters else inspect.Parameter.empty
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return value
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        wrong = f"{name}: {key}" if place is None else f"{place}.{key}"
        raise UserError(f"{wrong_value(wrong, value, error.errors()[0]['msg'])}.") from error


def build(node: Node | dict[str, Any], role: Role, allow: Sequence[str] = (), **given: Any) -> Any:
    """Call the target of a node with its keys, and with what it is given beside them.

    Raises UserError for keys or values that it refuses, or a package that it lacks.
    """
    call = bind(node, role, allow, later=list(given))
    # What the client of a logger's service raises is its own affair.
    refusals = (Exception,) if role == "logger" else (ValueError, ImportError)
    try:
        return call(**given)
    except refusals as error:
        raise UserError(f"{call.func.__module__}.{call.func.__qualname__}: {error}.") from error


def kind_of(target: str, allow: Sequence[str] = ()) -> Literal["pretext", "task"]:
    """Tell what a model's class is, from its source where that tells, else from the class.

    Raises UserError for one that is neither, or that may not be called.
    """
    check_allowed(target, "model", allow)
    line = _line_of_model(target, allow)
    if TASK in line:
        return "task"
    if PRETEXT in line:
        return "pretext"
    raise UserError(f"_target_: {target} is no model: subclass {PRETEXT} or {TASK}.")


def class_of_model(target: str, allow: Sequence[str] = ()) -> type:
    """Import the class of a model. Raises UserError where it is none."""
    found = locate(target, "model", allow)
    if not isinstance(found, type):
        raise UserError(f"_target_: {target} is no class of a model: subclass {PRETEXT} or {TASK}.")
    return found


def said_by(target: str, name: str, allow: Sequence[str] = ()) -> Any:
    """Return the plain value that a class has of a name, as far as its source tells; None where it does not."""
    return value_in(target, name, readable(allow))


def needs_of(node: Target, allow: Sequence[str]) -> str | None:
    """Return what a measure needs of a model, as far as its source tells; None where it does not."""
    needs = said_by(node.target, "needs", allow)
    return needs if isinstance(needs, str) else None


def check_needs(name: str, needs: str | None, can: Collection[str] | None, title: str) -> None:
    """Raise UserError for a measure that a model does not have.

    needs: see `aetransfer.evaluation.measure.Measure`. can: as in `aetransfer.models.facts.ModelFacts`. Of either, None
    says that nobody knows, and refuses nothing. title: of the model.
    """
    if needs and can is not None and needs not in can:
        raise UserError(
            f"evaluation={name} needs a model that {NEEDS.get(needs, needs)}, and this run's ({title}) does not: "
            "leave it out."
        )


def can_do(target: str, allow: Sequence[str] = ()) -> set[str] | None:
    """Return the methods of a model's class, as far as its source tells; None where it does not."""
    line = line_of(target, MODELS, readable(allow))
    return None if line is None else set().union(*line.values())


def _line_of_model(target: str, allow: Sequence[str]) -> dict[str, set[str]]:
    """Return what `line_of` does; where the source does not tell, a base being an attribute, say, of the class."""
    line = line_of(target, MODELS, readable(allow))
    if line is None or not {PRETEXT, TASK} & line.keys():
        line = {
            f"{each.__module__}.{each.__qualname__}": {
                name for name, value in vars(each).items() if callable(value) or value is True
            }
            for each in class_of_model(target, allow).__mro__
        }
    return line


def is_mix(target: str, allow: Sequence[str] = ()) -> bool:
    """Tell whether an augmentation mixes examples, as far as its source tells."""
    return any(name.startswith(f"{MIXING}.") for name in line_of(target, MIXING, readable(allow)) or ())


def learns_mixed(target: str, allow: Sequence[str] = ()) -> bool:
    """Tell whether a model's `step` heeds the partners of mixed examples: its class says so, or one below it."""
    line = _line_of_model(target, allow)
    return "mixes" in next((names for names in line.values() if {"mixes", "step"} & names), ())
