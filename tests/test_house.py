"""The house: imports of the package point one way, and go round in no circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"
FILES = {".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
         for path in sorted(SRC.glob("aetransfer/**/*.py"))}  # fmt: skip
# From the ground up. What is in none of these folders is a command, or what commands share.
FLOORS = (
    {"errors", "files", "origin", "printable", "signals", "config"},
    {"networks", "data"},
    {"models", "transfer", "store"},
    {"training", "evaluation", "report", "sweeps", "inference"},
)


def imported(name: str) -> set[str]:
    """Return the modules of the package that one imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    # What a package's own file says is no import of the modules in it.
    return {module for module in found & FILES.keys() - {name} if FILES[module].name != "__init__.py"}


def floor(name: str) -> int:
    folder = (*name.split("."), "")[1]
    return next((level for level, folders in enumerate(FLOORS) if folder in folders), len(FLOORS))


def test_no_module_imports_one_that_imports_it():
    """graphlib names the circle."""
    TopologicalSorter({name: imported(name) for name in FILES}).prepare()


def test_imports_point_down():
    modules = [name for name in FILES if floor(name) < len(FLOORS)]
    up = {(name, above) for name in modules for above in imported(name) if floor(above) > floor(name)}
    assert up == set()


def test_a_folder_says_in_two_lines_what_lives_there():
    for name, path in FILES.items():
        if path.name == "__init__.py" and name != "aetransfer":
            said = ast.get_docstring(ast.parse(path.read_text())) or ""
            assert len([line for line in said.splitlines() if line]) == 2, name
