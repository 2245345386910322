"""A package that fills every seat, well and badly, and configs that use it in ways that can't work."""

import itertools
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Each class is sound unless its name says how it is not.
SEATS = """
import torch
from torch import nn
from torchmetrics import Metric

from aetransfer.data.augmentation import Augmentation
from aetransfer.data.examples import Examples
from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.outcome import Outcome
from aetransfer.models.base import Pretext
from aetransfer.models.classifier import Classifier
from aetransfer.models.facts import Quantity
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.arms import Arm


def function(*words, **keys):
    return None


class Invert(Augmentation):
    numbers = 1

    def __init__(self, share: float = 0.5, level: int = 1):
        self.share, self.level = share, level

    def __call__(self, inputs, drawn):
        return inputs.where((drawn >= self.share).view(-1, 1, 1, 1), 1 - inputs)


class AugmentationOfAnotherShape(Invert):
    def __call__(self, inputs, drawn):
        return inputs[:, :, 1:]


class AugmentationOfNothing(Invert):
    def __call__(self, inputs, drawn):
        return None


class AugmentationOfNaN(Invert):
    def __call__(self, inputs, drawn):
        return inputs * float("nan")


class AugmentationThatRefuses(Invert):
    def __init__(self, share: float = 0.5, level: int = 1):
        raise ValueError(f"share={share:g} is refused")


class Normed(nn.Sequential):
    def __init__(self, in_features: int, outputs: int, dropout: float = 0.1, width: int = 8):
        super().__init__(nn.Linear(in_features, width), nn.Dropout(dropout), nn.Linear(width, outputs))


class HeadOfAnotherWidth(nn.Linear):
    def __init__(self, in_features: int, outputs: int):
        super().__init__(in_features, outputs + 1)


class HeadThatReadsAnotherCode(nn.Linear):
    def __init__(self, in_features: int, outputs: int):
        super().__init__(in_features + 1, outputs)


class HeadThatNeedsMore(nn.Linear):
    def __init__(self, in_features: int, outputs: int, temperature: float):
        super().__init__(in_features, outputs)


class TopHalf(Arm):
    def __init__(self, since: int = 1, factor: float = 0.1):
        self.since, self.factor = since, factor

    def rates(self, layers):
        return [self.factor] * layers


class ArmOfTooFew(TopHalf):
    def trains(self, layers, epoch, epochs):
        return [True]


class ArmOfNegativeRates(TopHalf):
    def rates(self, layers):
        return [-1.0] * layers


class ArmOfTexts(TopHalf):
    def rates(self, layers):
        return ["fast"] * layers


class ArmThatGrows(TopHalf):
    def begin(self, encoder, fresh, seed):
        encoder.extra = nn.Linear(2, 2)


class Spread(Measure):
    def __init__(self, images: int = 20, scale: float = 1.0):
        self.images, self.scale = images, scale

    def __call__(self, subject):
        return Outcome([{"spread": self.scale}])


class MeasureOfNothing(Spread):
    def __call__(self, subject):
        return None


class MeasureOfNaN(Spread):
    def __call__(self, subject):
        return Outcome([{"spread": float("nan")}])


class MeasureOfTensors(Spread):
    def __call__(self, subject):
        return Outcome([{"spread": torch.zeros(3)}])


class MeasureOfWhatIsNot(Spread):
    needs = "telepathy"


class Share(Metric):
    higher_is_better = True

    def __init__(self, least: float = 0.5):
        super().__init__()
        self.least = least
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, preds, target):
        self.total += (preds.amax(1) > self.least).float().mean()

    def compute(self):
        return self.total


class MetricOfWhatIsNot(Share):
    def update(self, thoughts, target):
        pass


class Noisy(Pretext):
    title = "noisy"
    metrics = {"mse": Quantity("mean squared error a pixel")}

    def __init__(self, encoder, sigma: float = 0.2, steps: int = 1):
        super().__init__(encoder)
        self.decoder, self.sigma = encoder.make_decoder(), sigma

    def step(self, batch):
        error = (self.decoder(self.encoder(batch.inputs)).sigmoid() - batch.inputs).square().mean((1, 2, 3))
        return {"loss": error, "mse": error}


class PretextOfNoLoss(Noisy):
    def step(self, batch):
        return {"mse": super().step(batch)["mse"]}


class PretextOfAnotherShape(Noisy):
    def step(self, batch):
        return {name: torch.cat([value, value]) for name, value in super().step(batch).items()}


class PretextOfNothing(Noisy):
    def step(self, batch):
        return None


class PretextWithoutMetrics(Pretext):
    def step(self, batch):
        return {"loss": self.encoder(batch.inputs).square().mean(1)}


class Focal(Classifier):
    def __init__(self, encoder, head, outputs, gamma: float = 2.0):
        super().__init__(encoder, head, outputs)


class Small(Conv4):
    pass


class EncoderOfAnotherWidth(Encoder):
    def __init__(self, input_shape, latent_dim: int = 8):
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=5)

    def body(self, normalised):
        return normalised.flatten(1)


def read(split):
    return Examples(torch.zeros(40, 1, 32, 32, dtype=torch.uint8), torch.arange(40) % 2, names=("a", "b"))


def read_nothing(split):
    return None


def read_of_another_length(split):
    return Examples(torch.zeros(40, 1, 32, 32, dtype=torch.uint8), torch.arange(4) % 2, names=("a", "b"))


def read_floats_of_nan(split):
    return Examples(torch.full((40, 1, 32, 32), float("nan")), torch.arange(40) % 2, names=("a", "b"))
"""


@dataclass(frozen=True)
class Seat:
    """node: where a sound one stands in the config, with its keys. numbers: those that are. bad: classes that break."""

    place: str
    name: str
    keys: tuple[str, ...]
    bad: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Return the words that put a sound one there."""
        return self.having(self.name)

    def having(self, target: str) -> tuple[str, ...]:
        # A whole node in place of whatever a default has there.
        return (f"+{self.place}={{_target_:own_seats.{target}}}",)


ARM = "own"


class OfAGroup(Seat):
    def having(self, target: str) -> tuple[str, ...]:
        return (f"{self.place}={self.name.lower()}", f"{self.place}._target_=own_seats.{target}")


SEATS_OF_CONFIG = (
    Seat("data.augment.own", "Invert", ("share", "level"),
         ("AugmentationOfAnotherShape", "AugmentationOfNothing", "AugmentationOfNaN", "AugmentationThatRefuses")),
    OfAGroup("head", "Normed", ("dropout", "width"),
             ("HeadOfAnotherWidth", "HeadThatReadsAnotherCode", "HeadThatNeedsMore")),
    OfAGroup("transfer", "TopHalf", ("since", "factor"),
             ("ArmOfTooFew", "ArmOfNegativeRates", "ArmOfTexts", "ArmThatGrows")),
    Seat("evaluation.own", "Spread", ("images", "scale"),
         ("MeasureOfNothing", "MeasureOfNaN", "MeasureOfTensors", "MeasureOfWhatIsNot")),
    Seat("metrics.own", "Share", ("least",), ("MetricOfWhatIsNot",)),
    OfAGroup("model", "Noisy", ("sigma", "steps"),
             ("PretextOfNoLoss", "PretextOfAnotherShape", "PretextOfNothing", "PretextWithoutMetrics")),
    OfAGroup("encoder", "Small", ("kernel_size",), ("EncoderOfAnotherWidth",)),
)  # fmt: skip
# Sound options of groups, so that a command chooses one by its name.
OPTIONS = {
    "head/normed": "_target_: own_seats.Normed\ndropout: 0.1\nwidth: 8\n",
    "transfer/tophalf": "_target_: own_seats.TopHalf\nname: tophalf\ncontrol: scratch\nsince: 1\nfactor: 0.1\n",
    "model/noisy": "# @package _global_\ndefaults: [/optimizer: adam, /scheduler: none, _self_]\n"
    "model: {_target_: own_seats.Noisy, name: noisy, sigma: 0.2, steps: 1}\n",
    "encoder/small": "_target_: own_seats.Small\nlatent_dim: 8\nwidths: [4, 8]\nkernel_size: 3\n",
}
NOT_A_NUMBER = ("abc", "[1]", "{a:1}", "'1,5'", "much", "[abc,1]")
READERS = ("read_nothing", "read_of_another_length", "Invert", "Nothing")


@dataclass(frozen=True)
class Broken:
    kind: str
    words: tuple[str, ...]


Made = tuple[str, ...]


def a_misspelt_key(draw: random.Random) -> Made:
    seat = draw.choice(SEATS_OF_CONFIG)
    key = draw.choice(seat.keys)
    place = draw.randrange(len(key))
    wrong = key[:place] + draw.choice(string.ascii_lowercase) + draw.choice(string.ascii_lowercase) + key[place + 1 :]
    return (*seat.words, f"+{seat.place}.{wrong}=1")


def a_value_of_another_kind(draw: random.Random) -> Made:
    seat = draw.choice([seat for seat in SEATS_OF_CONFIG if seat.name != "Share"])
    return (*seat.words, f"++{seat.place}.{draw.choice(seat.keys)}={draw.choice(NOT_A_NUMBER)}")


def a_class_that_is_not_there(draw: random.Random) -> Made:
    seat = draw.choice(SEATS_OF_CONFIG)
    junk = "".join(draw.choices(string.ascii_letters, k=5))
    return seat.having(draw.choice([f"{seat.name}{junk}", junk, f"{junk}.{seat.name}", f"{seat.name}.{junk}"]))


def a_class_of_another_seat(draw: random.Random) -> Made:
    seat, other = draw.sample(SEATS_OF_CONFIG, 2)
    return seat.having(other.name)


def a_function_in_a_seat(draw: random.Random) -> Made:
    return draw.choice(SEATS_OF_CONFIG).having("function")


def a_class_that_breaks_its_contract(draw: random.Random) -> Made:
    seat = draw.choice(SEATS_OF_CONFIG)
    return seat.having(draw.choice(seat.bad))


def a_node_that_is_none(draw: random.Random) -> Made:
    seat = draw.choice([seat for seat in SEATS_OF_CONFIG if not isinstance(seat, OfAGroup)])
    return (f"+{seat.place}={draw.choice(['3', '[1,2]', 'true', 'abc', '1.5', '{a:1}', '{_target_:3}'])}",)


def a_package_that_is_not_allowed(draw: random.Random) -> Made:
    seat = draw.choice(SEATS_OF_CONFIG)
    return tuple(word.replace("own_seats.", f"{draw.choice(['os', 'my_lab', 'shutil'])}.") for word in seat.words)


def a_reader_that_gives_something_else(draw: random.Random) -> Made:
    return (f"data.reader={{_target_:own_seats.{draw.choice(READERS)}}}", f"seed={draw.randrange(50)}")


def an_arm_without_its_control(draw: random.Random) -> Made:
    return ("transfer=tophalf", f"transfer.{draw.choice(['weights=fresh', 'encoder=frozen', 'layer_decay=2'])}")


def a_metric_that_is_there_already(draw: random.Random) -> Made:
    return (f"+metrics.{draw.choice(['acc', 'f1', 'nll', 'ece'])}={{_target_:own_seats.Share}}",)


def a_monitor_that_nobody_measures(draw: random.Random) -> Made:
    name = "".join(draw.choices(string.ascii_lowercase, k=4))
    return ("+metrics.own={_target_:own_seats.Share}", f"model.monitor={draw.choice(['val/', 'test/', ''])}{name}")


KINDS: list[Callable[[random.Random], Made]] = [
    a_misspelt_key, a_value_of_another_kind, a_class_that_is_not_there, a_class_of_another_seat, a_function_in_a_seat,
    a_class_that_breaks_its_contract, a_node_that_is_none, a_package_that_is_not_allowed,
    a_reader_that_gives_something_else, an_arm_without_its_control, a_metric_that_is_there_already,
    a_monitor_that_nobody_measures,
]  # fmt: skip


def broken_seats(seed: int, count: int) -> Iterator[Broken]:
    """Yield different command lines with a broken seat, of each kind in turn."""
    draw, seen = random.Random(seed), set[Made]()
    for make in itertools.cycle(KINDS):
        if len(seen) == count:
            return
        words = make(draw)
        if words not in seen:
            seen.add(words)
            yield Broken(make.__name__, words)
