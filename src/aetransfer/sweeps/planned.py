"""Which jobs a sweep was to have: those that a multirun cut short never began."""

from pathlib import Path

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def planned_jobs(sweep: Path) -> list[str]:
    """Return the overrides of each job, with spaces between, in the sweep's order.

    Empty where that can't be told: Hydra wrote no multirun.yaml, another sweeper than its basic one chooses the jobs as
    it goes, or a glob would choose among other files today.
    """
    path = sweep / "multirun.yaml"
    if not path.is_file():
        return []
    settings = yaml.safe_load(path.read_text())["hydra"]
    if not settings["sweeper"]["_target_"].endswith(BasicSweeper.__name__):
        return []
    try:
        overrides = OverridesParser.create().parse_overrides(settings["overrides"]["task"])
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
    except HydraException:
        return []
    return [" ".join(words) for words in jobs]
