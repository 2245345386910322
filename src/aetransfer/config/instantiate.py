"""The one place that turns a `_target_` into an object. Only named packages may be called.

The name is checked twice: as it is written, and as the module that the found object really comes from, because
`aetransfer.runs.result.os.system` begins with an allowed name too.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aetransfer.config.schema import Node
from aetransfer.errors import UserError

OWN = ("aetransfer", "pytorch_lightning.callbacks", "pytorch_lightning.loggers")


def locate(target: str, allow: Sequence[str] = ()) -> Callable[..., Any]:
    """Import what `target` names. Raises UserError where it is not below an allowed package, or does not exist."""
    if not _below(target, (*OWN, *allow)):
        raise UserError(
            f"_target_: {target} is outside the packages that a config may call ({', '.join((*OWN, *allow))}): "
            f"if it is yours, add allow=[{target.split('.')[0]}] to the command line."
        )
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"_target_: {target} can't be imported ({error}): correct its name.") from error
    if not callable(found) or not _below(getattr(found, "__module__", ""), (*OWN, *allow)):
        raise UserError(f"_target_: {target} is not a class or function of the packages that a config may call.")
    return found


def _below(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def bind(node: Node | dict[str, Any], allow: Sequence[str] = (), **more: Any) -> partial[Any]:
    """Return the target of a node, with its keys and `more` as arguments, ready to be called.

    Raises UserError for a key that the target does not take, with the nearest that it does.
    """
    keys = node.model_dump(by_alias=True) if isinstance(node, Node) else dict(node)
    target = locate(keys.pop("_target_"), allow)
    parameters = inspect.signature(target).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in () if takes_any else (*keys, *more):
        if key not in parameters:
            near = difflib.get_close_matches(key, parameters, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(parameters) or 'nothing'}."
            raise UserError(f"{target.__module__}.{target.__qualname__} takes no {key!r}: {hint}")
    return partial(target, **keys, **more)


def build(node: Node | dict[str, Any], allow: Sequence[str] = (), **more: Any) -> Any:
    """Call the target of a node. Raises UserError where an argument is missing or unknown."""
    call = bind(node, allow, **more)
    try:
        inspect.signature(call.func).bind(**call.keywords)
    except TypeError as error:
        raise UserError(f"{call.func.__module__}.{call.func.__qualname__}: {error}.") from error
    return call()
