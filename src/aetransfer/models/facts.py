"""What a run says of its model: in result.json under `model`. Lists, pages, cards and reports know no more of it.

Anybody may have written it, so that everything in it is bounded. Nothing here imports torch.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, ValidationError

from aetransfer.config.other_names import earlier_facts

Part = Literal["train", "val", "test"]
Name = Annotated[str, Field(max_length=80)]
Sentence = Annotated[str, Field(max_length=500)]


# What each capability takes: see `aetransfer.models.capabilities`.
METHODS: dict[str, set[str]] = {
    "reconstruct": {"reconstruct", "decode"},
    "decode": {"reconstruct", "decode"},
    "sample": {"sample"},
    "posterior": {"reconstruct", "decode", "observe", "posterior", "nll"},
    "classify": {"probabilities"},
    "regress": {"values"},
    "label": {"label_probabilities"},
}


class Monitor(NamedTuple):
    """A metric, and whether more or less of it is better: what chooses an epoch, and what runs are compared by."""

    metric: str
    mode: Literal["max", "min"]

    @property
    def sign(self) -> int:
        """What makes more of it better: 1, or -1."""
        return 1 if self.mode == "max" else -1

    @property
    def remark(self) -> str:
        """Say what one expects least, in brackets; nothing where more is better."""
        return "" if self.mode == "max" else " (lower is better)"

    def on(self, part: Part) -> Self:
        """Return its twin on a part of the data: test/acc of val/acc."""
        return self._replace(metric=f"{part}/{self.metric.partition('/')[2] or self.metric}")


@dataclass(frozen=True)
class Quantity:
    """A metric in words, with its unit. better: None for one that says nothing beside another run's, such as a loss
    whose weights are settings.
    """

    words: Annotated[str, Field(max_length=200)]
    better: Literal["lower", "higher"] | None = "lower"


class ModelFacts(BaseModel):
    """name: the label in the config. title: what it is, as one says it after `a` or `an`. summary: what it learnt.

    can: of the keys of METHODS (see `aetransfer.models.capabilities`); None where nobody knows. monitor: what chose the
    epoch. metrics: by the name that follows val/ or test/, the most telling first. untrained: the parts of the encoder
    that it leaves as they began. caveats: what its numbers must be read with. arm: what an arm of one's own does with
    the encoder.
    """

    name: Name = ""
    title: Name = "model"
    summary: Sentence = "An encoder"
    can: Annotated[list[Name], Field(max_length=20)] | None = None
    monitor: Name | None = None
    monitor_mode: Literal["max", "min"] = "min"
    metrics: Annotated[dict[Name, Quantity], Field(max_length=50)] = {}
    untrained: Annotated[list[Name], Field(max_length=20)] = []
    caveats: Annotated[list[Sentence], Field(max_length=20)] = []
    arm: Sentence = ""

    def does(self, capability: str) -> bool:
        """Tell whether it is known to do that."""
        return capability in (self.can or ())

    def words(self, name: str) -> str:
        """Say what a metric is, by the name that follows val/ or test/; nothing where the model doesn't."""
        return self.metrics[name].words if name in self.metrics else ""

    @property
    def titled(self) -> str:
        return f"{'an' if self.title[:1].lower() in tuple('aeiou') else 'a'} {self.title}"

    @property
    def compared(self) -> Monitor | None:
        """Return by which validation metric runs are compared: what chose the epoch, if the model gives it a direction.

        Else the first that has one. None where nothing is known.
        """
        chosen = None if self.monitor is None else Monitor(self.monitor, self.monitor_mode).on("val")
        known = {f"val/{name}": quantity.better for name, quantity in self.metrics.items() if quantity.better}
        if known and (chosen is None or chosen.metric not in known):
            metric, better = next(iter(known.items()))
            return Monitor(metric, "max" if better == "higher" else "min")
        return chosen


def capabilities_in(methods: Collection[str]) -> list[str]:
    """Say what a model can do that has these methods."""
    return [word for word, needed in METHODS.items() if needed <= set(methods)]


def facts_of(result: Mapping[str, Any], config: Mapping[str, Any]) -> ModelFacts:
    """Return what a run says of its model, or what is known of the version before's; neutral facts of any other.

    result, config: result.json and config.yaml as they were read, or what there is of them.
    """
    for said in (result.get("model"), earlier_facts(config.get("model"))):
        try:
            return ModelFacts.model_validate(said)
        except ValidationError:
            continue
    return ModelFacts()
