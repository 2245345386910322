"""Start a project of your own: a package that adds parts to aetransfer.

Usage: python -m aetransfer.new NAME

Examples:
  python -m aetransfer.new my_lab
  python -m aetransfer.new ~/projects/my_lab
  python -m aetransfer.new my_lab && cd my_lab && make quickstart

NAME is the new folder and the package in it: lower-case letters, digits and _.
The project has a data set, an encoder, a pretext (what is learnt without
labels), a task, an experiment with all four, and tests. Its README has the next
steps.
"""

import re
import shutil
import sys
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution
from keyword import iskeyword
from pathlib import Path

from aetransfer.config.nodes import at_home
from aetransfer.config.plugins import config_directory
from aetransfer.errors import UserError
from aetransfer.origin import requirement
from aetransfer.printable import printable

SUFFIX = ".jinja"
# The folder of the templates that is called as the project is.
PACKAGE = "package"


def main() -> None:
    """Write the project. Exits with 1 after one sentence for what the user can mend."""
    words = sys.argv[1:]
    if "-h" in words or "--help" in words:
        print(__doc__)
        return
    try:
        if len(words) != 1:
            raise UserError("Say what the project is to be called: python -m aetransfer.new my_lab.")
        folder = at_home(words[0])
        write_project(folder)
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")
    print(f"{printable(str(folder))} is there. Next: cd {printable(str(folder))} && make quickstart")


def write_project(folder: Path) -> None:
    """Write a project that is called as its folder. Raises UserError for a name or a folder that won't do."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    _check_name(folder.name)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already, and not empty: choose another folder.")
    templates = Environment(
        loader=PackageLoader("aetransfer", "project"), keep_trailing_newline=True, undefined=StrictUndefined
    )
    for name in templates.list_templates(extensions=[SUFFIX.removeprefix(".")]):
        path = folder / name.removesuffix(SUFFIX).replace(f"/{PACKAGE}/", f"/{folder.name}/")
        text = templates.get_template(name).render(package=folder.name, aetransfer=requirement())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path} can't be written ({error.strerror}).") from error
    shutil.copy(config_directory() / "schema.json", folder / "configs")


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", name) or iskeyword(name):
        raise UserError(
            f"{name or '.'} is no name of a Python package: write small letters, digits and _, as in my_lab."
        )
    # The folder that the command is given in is no place of packages.
    places = [place for place in sys.path if place and Path(place).absolute() != Path.cwd()]
    if name in sys.stdlib_module_names or PathFinder.find_spec(name, places) or _installed(name):
        raise UserError(f"{name} is the name of a package that is installed here: choose another.")


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
