"""Where config files are: the program's own, and those of plugins, packages with an entry point `aetransfer.plugins`.

A plugin is found by what was noted when it was installed. Nothing of it is imported before it is allowed.
"""

import logging
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from aetransfer.files import read_yaml

log = logging.getLogger(__name__)

# What each model's file chooses for itself, and each data set's.
CHOSEN_BY_MODEL = ("optimizer", "scheduler")
CHOSEN_BY_DATA = ("augment",)
ENTRY_POINTS = "aetransfer.plugins"
# Where a plugin's config groups are, in its package or in its checkout.
CONFIGS = "configs"
# By whom Hydra is told of a plugin's files.
PROVIDER = "plugin "


def config_directory() -> Path:
    """Return where the config groups are: in the package once it is installed, else at the top of the checkout."""
    installed = Path(__file__).parents[1] / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "configs"


def groups_of(config_name: str) -> list[str]:
    """List the groups that a command's config is composed from."""
    defaults = read_yaml(config_directory() / f"{config_name}.yaml")["defaults"]
    groups = [group for entry in defaults if entry != "_self_" for group in entry if not group.startswith("override ")]
    return [*groups, *(CHOSEN_BY_MODEL if "model" in groups else ()), *(CHOSEN_BY_DATA if "data" in groups else ())]


def choices_of(group: str) -> list[str]:
    """List the names that `group` can be set to by the program's own files; for all, see `compose.options_of`."""
    files = (config_directory() / group).glob("*.yaml")
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


@dataclass(frozen=True)
class Plugin:
    """package: what is allowed with it. configs: the folder of its config groups."""

    package: str
    configs: Path


@cache
def plugins() -> tuple[Plugin, ...]:
    """Return the plugins that are installed, by name. One that has no files is left out, and a line says so."""
    found = {}
    for package in sorted({entry.value.partition(":")[0].strip() for entry in entry_points(group=ENTRY_POINTS)}):
        folders = _folders(package)
        # As ours: in the package once it is installed, in a checkout beside src.
        places = [*folders, *(folder.parents[1] for folder in folders if folder.parent.name == "src")]
        configs = next((place / CONFIGS for place in places if (place / CONFIGS).is_dir()), None)
        if configs is None:
            lack = f"has no folder {CONFIGS}" if folders else "can't be found"
            log.warning("The plugin %s is left out: its package %s.", package, lack)
        else:
            found[package] = Plugin(package, configs)
    return tuple(found.values())


def plugin_of(target: str) -> str | None:
    """Return the package of the plugin that a name is in, None where it is in none."""
    return next((each.package for each in plugins() if f"{target}.".startswith(f"{each.package}.")), None)


def _folders(package: str) -> list[Path]:
    """Return where a package lies. To find one imports nothing, to find one in another would import that."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", package):
        return []
    top, *parts = package.split(".")
    spec = find_spec(top)
    places = [Path(folder, *parts) for folder in (spec.submodule_search_locations or [] if spec else [])]
    return [place for place in places if place.is_dir()]
