"""Which arm is compared with which control, and the order in which arms are listed."""

from collections.abc import Mapping
from typing import Any

# For runs whose config does not say it themselves (`transfer.control`).
CONTROL_OF = {
    "finetune": "scratch",
    "finetune_layerwise": "scratch",
    "gradual": "scratch",
    "shuffled": "scratch",
    "moments": "scratch",
    "frozen": "random_frozen",
    "linear_probe": "random_linear_probe",
}
# Controls first, each next to what is compared with it.
ORDER = (
    *("scratch", "random_frozen", "random_linear_probe"),
    *("linear_probe", "frozen", "finetune", "finetune_layerwise", "gradual", "shuffled", "moments"),
)


def control_of(config: Mapping[str, Any]) -> str | None:
    """Return the arm that a run is compared with, None for a control. config: dotted keys of a settled job."""
    if "transfer.control" in config:
        return config["transfer.control"]
    return CONTROL_OF.get(config.get("transfer.name", ""))


def rank(arm: str) -> tuple[int, str]:
    """Return what arms are sorted by; an arm unknown here comes last."""
    return (ORDER.index(arm) if arm in ORDER else len(ORDER), arm)
