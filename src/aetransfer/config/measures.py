"""What can be measured of a finished run: the schema of the `evaluation` group. Its files combine."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from aetransfer.config.nodes import Node, PositiveFloat, PositiveInt, Seed

Probe = Literal["knn", "logistic", "mlp"]
Baseline = Literal["random", "pixels", "pca"]


class Probes(Node):
    """Small models on frozen features, each beside those on features that nothing was learnt for."""

    probes: Annotated[list[Probe], Field(min_length=1)] = list(get_args(Probe))
    baselines: list[Baseline] = list(get_args(Baseline))
    layers: Annotated[list[str], Field(min_length=1)] | None = None
    max_features: PositiveInt = 1024
    neighbours: Annotated[list[PositiveInt], Field(min_length=1)] = [1, 5, 20]
    inverse_penalties: Annotated[list[PositiveFloat], Field(min_length=1)] = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    hidden: list[PositiveInt] = [256]
    mlp_epochs: PositiveInt = 20
    seed: Seed = 0


class Measures(Node):
    """Which measures to take, each with its settings; None: not that one."""

    probes: Probes | None = None

    def chosen(self) -> dict[str, Node]:
        """Return the settings of each measure to take, by its name."""
        return {name: settings for name in type(self).model_fields if (settings := getattr(self, name)) is not None}
