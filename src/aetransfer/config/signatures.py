"""What a class or function takes, read from its source: importing it would import torch, which takes seconds."""

import ast
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union

from pydantic import Field

from aetransfer.config import nodes

# Whose source is plain enough for this. Anybody else's class may have its arguments from a decorator.
PACKAGES = ("aetransfer", "pytorch_lightning", "torch", "torchmetrics")
# What a class or function is given beside the keys of its node, by the key that the node stands at.
GIVEN_LATER = {
    "encoder": ("input_shape",),
    "model": ("encoder",),
    "head": ("in_features", "outputs"),
    "optimizer": ("params",),
    "scheduler": ("optimizer",),
}
# What it is given where it asks for it and the node leaves it open.
OFFERED = {
    "reader": ("split", "train"),
    "model": ("head", "outputs", "views"),
    "metric": ("num_classes", "num_labels", "num_outputs"),
    "scheduler": ("total_steps", "T_max", "max_lr", "mode"),
}
# Keys of a node that its class is not given: see `aetransfer.config.nodes`.
OF_NODES = {
    "model": ("monitor", "monitor_mode", "views"),
    "transfer": ("name", "carries", "control", "linear_head", "channels"),
    "optimizer": ("encoder_lr",),
    "scheduler": ("interval",),
}
# Annotations that need no import to be understood.
PLAIN: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
NUMBERS = ("PositiveInt", "NonNegativeInt", "PositiveFloat", "NonNegativeFloat", "Margin", "Seed")
PLAIN |= {name: getattr(nodes, name) for name in NUMBERS}

Definition = ast.ClassDef | ast.FunctionDef


class Declared(NamedTuple):
    """name: with the module that it is written in. signature: annotated where that is PLAIN."""

    name: str
    signature: Signature


def declared(target: str, packages: Sequence[str] = PACKAGES) -> Declared | None:
    """Return how a class or function is called; None where these sources don't say it in so many words."""
    module, _, name = target.rpartition(".")
    found = _definition(module, name, tuple(packages))
    if found is None:
        return None
    where, node = found
    signature = (
        _of_class(where, node, tuple(packages)) if isinstance(node, ast.ClassDef) else Signature(_parameters(node.args))
    )
    return None if signature is None else Declared(f"{where}.{node.name}", signature)


def readable(allow: Sequence[str]) -> tuple[str, ...]:
    """Return the packages whose sources are read, where a command allows these."""
    return (*PACKAGES, *(package.partition(".")[0] for package in allow))


def parameters_of(target: str, allow: Sequence[str] = ()) -> list[str]:
    """List what a class or function of these packages, or of allowed ones, takes by name, as far as a source tells."""
    found = declared(target, readable(allow))
    if found is None:
        return []
    return [name for name, each in found.signature.parameters.items() if each.kind is not Parameter.VAR_KEYWORD]


def line_of(target: str, root: str, packages: Sequence[str] = PACKAGES) -> dict[str, set[str]] | None:
    """Return a class and what it inherits from, down to the module `root`, by name: each with the methods it defines,
    and the names that it sets to True.

    None where these sources don't tell.
    """
    module, _, name = target.rpartition(".")
    found = _definition(module, name, tuple(packages))
    if found is None or not isinstance(found[1], ast.ClassDef):
        return None
    where, node = found[0], found[1]
    line = {f"{where}.{node.name}": {name for statement in node.body for name in _says(statement)}}
    if where == root:
        return line
    bases = [line_of(f"{where}.{base.id}", root, packages) for base in node.bases if isinstance(base, ast.Name)]
    return line | {name: methods for base in bases for name, methods in (base or {}).items()}


def value_in(target: str, name: str, packages: Sequence[str]) -> Any:
    """Return the plain value that a class, or the nearest it inherits from, sets a name to; None where none tells."""
    module, _, kind = target.rpartition(".")
    found = _definition(module, kind, tuple(packages))
    if found is None or not isinstance(found[1], ast.ClassDef):
        return None
    where, node = found[0], found[1]
    for statement in node.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=set_here)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=set_here), value=ast.expr() as value)
            ) if set_here == name:
                with suppress(ValueError):
                    return ast.literal_eval(value)
                return None
    bases = (value_in(f"{where}.{base.id}", name, packages) for base in node.bases if isinstance(base, ast.Name))
    return next((value for value in bases if value is not None), None)


def _says(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=True)):
            return [name]
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=True)):
            return [name]
    return []


def names_in(module: str) -> list[str] | None:
    """List what a module of these packages defines and imports; None where there is no such module."""
    tree = _source(module, PACKAGES)
    return None if tree is None else list(_statements(tree))


def names_no_class(target: str, packages: Sequence[str]) -> bool:
    """Tell whether these sources say that a name is a function or that there is none, so that no class is called so."""
    module, _, name = target.rpartition(".")
    tree = _source(module, tuple(packages))
    if tree is None:
        return False
    if isinstance(_statements(tree).get(name), ast.FunctionDef):
        return True
    found = _definition(module, name, tuple(packages))
    if found is not None:
        return isinstance(found[1], ast.FunctionDef)
    given = {name for node in ast.walk(tree) for name in _given_by(node)}
    return not {name, "*", "__getattr__"} & given


def _given_by(node: ast.AST) -> list[str]:
    """Return the names that a statement, at whatever depth, may give to its module."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
            return [name]
        case ast.ImportFrom(names=aliases):
            return [alias.asname or alias.name for alias in aliases]
    return []


@cache
def _source(module: str, packages: tuple[str, ...]) -> ast.Module | None:
    # To find a package imports nothing, to find a module in it would import the package.
    package, *parts = module.split(".")
    spec = find_spec(package) if package in packages and all(part.isidentifier() for part in parts) else None
    if spec is None:
        return None
    folders = spec.submodule_search_locations
    places = [Path(folder, *parts) for folder in folders or ()]
    files = [file for path in places for file in (path / "__init__.py", path.with_suffix(".py"))]
    if folders is None and not parts and spec.origin:  # a module by itself
        files = [Path(spec.origin)]
    for file in files:
        # Somebody's source may be in another encoding, or compiled.
        with suppress(OSError, SyntaxError, ValueError):
            return ast.parse(file.read_text(encoding="utf-8"))
    return None


def _statements(tree: ast.Module) -> dict[str, ast.stmt]:
    names: dict[str, ast.stmt] = {}
    for statement in tree.body:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names[name] = statement
            case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
                names |= {alias.asname or alias.name: statement for alias in aliases}
    return names


def _definition(module: str, name: str, packages: tuple[str, ...]) -> tuple[str, Definition] | None:
    """Find the module that a name is written in, through those that only import it."""
    tree = _source(module, packages)
    match _statements(tree).get(name) if tree else None:
        case ast.ClassDef() | ast.FunctionDef() as node if not node.decorator_list:
            return module, node
        case ast.ImportFrom(module=str(origin), names=aliases, level=0 | 1 as level):
            original = next(alias.name for alias in aliases if name in (alias.asname, alias.name))
            # `from .nets` is of the package itself, or of the one that the module is in.
            beside = (module, module.rpartition(".")[0]) if level else ()
            origins = [f"{package}.{origin}" for package in beside] or [origin]
            # `from torch import nn`, in torch itself, is of a folder.
            others = [each for each in origins if (each, original) != (module, name)]
            return next((found for each in others if (found := _definition(each, original, packages))), None)
    return None


def _of_class(module: str, node: ast.ClassDef, packages: tuple[str, ...]) -> Signature | None:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return Signature(_parameters(statement.args)[1:])
    match [base for base in node.bases if not (isinstance(base, ast.Name) and base.id == "ABC")]:
        case []:
            return Signature()
        case [ast.Name(id=base)]:
            found = _definition(module, base, packages)
            return _of_class(found[0], found[1], packages) if found and isinstance(found[1], ast.ClassDef) else None
    return None


def _parameters(arguments: ast.arguments) -> list[Parameter]:
    required = len(arguments.args) - len(arguments.defaults)
    parameters = [_parameter(each, place >= required) for place, each in enumerate(arguments.args)]
    parameters += [
        _parameter(each, default is not None, Parameter.KEYWORD_ONLY)
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg is not None:
        parameters.append(Parameter(arguments.kwarg.arg, Parameter.VAR_KEYWORD))
    return parameters


def _parameter(argument: ast.arg, optional: bool, kind: Any = Parameter.POSITIONAL_OR_KEYWORD) -> Parameter:
    default = None if optional else Parameter.empty
    return Parameter(argument.arg, kind, default=default, annotation=_understood(argument.annotation))


def _understood(annotation: ast.expr | None) -> Any:
    """Return an annotation of plain types, literals, sequences and limits; Parameter.empty for any other."""
    # A limit may be a name, which only importing would tell, or a keyword that pydantic does not know.
    with suppress(ValueError, TypeError):
        return _read(annotation)
    return Parameter.empty


def _read(annotation: ast.expr | None) -> Any:
    match annotation:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            return PLAIN.get(name, Parameter.empty)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            both = _understood(left), _understood(right)
            return Parameter.empty if Parameter.empty in both else Union[both]  # noqa: UP007
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=values)):
            return Literal[tuple(ast.literal_eval(value) for value in values)]
        case ast.Subscript(value=ast.Name(id="Sequence"), slice=item):
            understood = _understood(item)
            return Parameter.empty if understood is Parameter.empty else list[understood]  # type: ignore[valid-type]
        case ast.Subscript(
            value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, ast.Call(func=ast.Name(id="Field")) as field])
        ):
            understood = _understood(inner)
            limits = {str(each.arg): ast.literal_eval(each.value) for each in field.keywords}
            return Parameter.empty if understood is Parameter.empty else Annotated[understood, Field(**limits)]
    return Parameter.empty
