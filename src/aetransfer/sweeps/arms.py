"""The order in which arms are listed."""

# Controls first, each next to what is compared with it.
ORDER = (
    *("scratch", "random_frozen", "random_linear_probe"),
    *("linear_probe", "frozen", "finetune", "finetune_layerwise", "gradual", "shuffled", "moments"),
    *("transplant", "transplant_frozen"),
)


def rank(arm: str) -> tuple[int, str]:
    """Return what arms are sorted by; an arm unknown here comes last."""
    return (ORDER.index(arm) if arm in ORDER else len(ORDER), arm)
