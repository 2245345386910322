"""Which config groups there are, and what each can be set to."""

from pathlib import Path

from omegaconf import OmegaConf


def config_directory() -> Path:
    """Return where the config groups are: in the package once it is installed, else at the top of the checkout."""
    installed = Path(__file__).parents[1] / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "configs"


# What each model's file chooses for itself.
CHOSEN_BY_MODEL = ("optimizer", "scheduler")
# What each data set's file chooses.
CHOSEN_BY_DATA = ("augment",)


def groups_of(config_name: str) -> list[str]:
    """List the groups that a command's config is composed from."""
    defaults = OmegaConf.load(config_directory() / f"{config_name}.yaml").defaults
    groups = [group for entry in defaults if entry != "_self_" for group in entry if not group.startswith("override ")]
    return [*groups, *(CHOSEN_BY_MODEL if "model" in groups else ()), *(CHOSEN_BY_DATA if "data" in groups else ())]


def choices_of(group: str) -> list[str]:
    """List the names that `group` can be set to by the program's own files; for all, see `compose.options_of`."""
    files = (config_directory() / group).glob("*.yaml")
    return sorted(path.stem for path in files if not path.stem.startswith("_"))
