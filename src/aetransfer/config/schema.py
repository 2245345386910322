"""The schema of one job. Everything a job reads comes from here, so a key that is not here is a misspelling.

Its defaults are for files that leave a key out, those of older runs and of one's own: they are what a group's default
file says.

It knows nothing of torch, so that a config error costs a second, not five. A node with `_target_` names the class or
function that is built from it. What that takes is not said here: `aetransfer.config.instantiate` asks its signature, of
the program and of Lightning in their sources, of anybody else when it is built.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from aetransfer.config.nodes import (
    Batches,
    ByWord,
    Callback,
    Fraction,
    GreyLevel,
    Margin,
    Measures,
    MetricNode,
    ModelNode,
    Name,
    NameByName,
    Node,
    NonNegativeFloat,
    NonNegativeInt,
    Number,
    OptimizerNode,
    Place,
    PositiveFloat,
    PositiveInt,
    SchedulerNode,
    Seed,
    Side,
    Target,
    ValueRange,
    Width,
    Widths,
    at_home,
    no_bool,
)
from aetransfer.config.other_names import todays_augment
from aetransfer.errors import UserError

Stage = Literal["pretrain", "transfer"]
# Of a signal, in samples.
Length = Annotated[int, BeforeValidator(no_bool), Field(gt=0, le=2**22)]


def _all(value: Any) -> Any:
    # `labels_per_class=1,10,all` reads better in a sweep, and in its table, than null.
    return None if value == "all" else value


def _reader_at_home(reader: Target) -> Target:
    # A run is measured again from any folder, so a place must mean the same in all of them.
    places = {key: value for key in ("root", "cache_dir") if isinstance(value := getattr(reader, key, None), str)}
    return reader.model_copy(update={key: str(at_home(value).absolute()) for key, value in places.items()})


def _unless(default: Any) -> Callable[[Any], Any]:
    """Take a key that is set to what null means for null: the same job has the same digest."""
    return lambda value: None if value == default else value


def _get(node: Any, key: str, field: str) -> Any:
    """Read a key of a node that may be plain data or validated already."""
    return node.get(key) if isinstance(node, dict) else getattr(node, field, None)


class Data(Node):
    """The data of a run. `digest`: checksum of the data, filled in when they are read. If it is given, other data are
    refused. augment: transforms of training images, in this order; their names have no meaning.

    channels, image_size: of images with 8 bits; 1 and 3 channels are converted to each other. Without them, inputs are
    what the reader gives. Then `shape` (of one input, without padding) and `floats` (true unless they are pixels of 8
    bits) are filled in too. folds, fold: the part of the training examples to test on, instead of the test split.
    test_fraction: share to test on of data without a test split, the same for every seed.
    """

    name: Name
    digest: Annotated[str | None, Field(pattern=r"^[0-9a-f]{8}$")] = None
    reader: Annotated[Target, AfterValidator(_reader_at_home)]
    root: str | None = None
    labels: Literal["none"] | None = None
    background: GreyLevel | None = None
    value_range: ValueRange | None = None
    frame: NonNegativeInt | None = None
    classes: PositiveInt | None = None
    table: str | None = None
    inputs: str | list[str] | None = None
    targets: str | list[str] | None = None
    kind: Literal["classes", "values", "labels"] | None = None
    groups: str | None = None
    where: dict[str, str | int | float | bool] | None = None
    axes: str | None = None
    length: Length | None = None
    fit: Literal["crop_or_pad", "resample"] | None = None
    window: Length | None = None
    stride: Length | None = None
    channels: Width | None = None
    image_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    shape: list[PositiveInt] | None = None
    floats: bool | None = None
    pad: Margin = 0
    batch_size: PositiveInt = 128
    val_fraction: Fraction = 0.1
    labels_per_class: Annotated[PositiveInt | None, BeforeValidator(_all)] = None
    train_fraction: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=1)] | None = None
    test_fraction: Fraction | None = None
    folds: Annotated[int, BeforeValidator(no_bool), Field(ge=2, le=1000)] | None = None
    fold: NonNegativeInt | None = None
    epoch_images: PositiveInt | None = None
    augment: Annotated[dict[str, Target | None], BeforeValidator(todays_augment)] = {}
    max_memory_gb: NonNegativeFloat = 8.0
    workers: Annotated[PositiveInt, Field(le=1024)] = 2

    @property
    def as_it_is(self) -> Self:
        """The same data for what trains on none of it: what a stranger's config would augment it with is not called."""
        return self.model_copy(update={"augment": {}})

    @property
    def stated(self) -> tuple[int, ...] | None:
        """The shape (channels, height, width) of one image without padding, None where the config leaves it open."""
        if self.channels is None or self.image_size is None:
            return None
        size = self.image_size
        return (self.channels, size, size) if isinstance(size, int) else (self.channels, *size)

    @property
    def unpadded_shape(self) -> tuple[int, ...] | None:
        """The shape of one input, None as long as nobody has looked at the data."""
        return self.stated or (None if self.shape is None else tuple(self.shape))

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """What the encoder takes, padding included; None as long as nobody has looked at the data."""
        shape = self.unpadded_shape
        if shape is None or not self.pad:
            return shape
        return (shape[0], *(side + 2 * self.pad for side in shape[1:]))

    @model_validator(mode="after")
    def _has_a_shape_or_finds_one(self) -> Self:
        if (self.channels is None) != (self.image_size is None):
            given, lacks = ("image_size", "channels") if self.channels is None else ("channels", "image_size")
            raise ValueError(f"has {given}, but no {lacks}: give both, or neither, and the data say what they are")
        return self

    @model_validator(mode="after")
    def _has_one_fold(self) -> Self:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("has one of folds and fold: data.folds=5 data.fold=0 tests on the first of five parts")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"has fold={self.fold} of folds={self.folds}: they are called 0 to {self.folds - 1}")
        return self

    @model_validator(mode="after")
    def _one_subset(self) -> Self:
        if self.labels == "none" and self.labels_per_class is not None:
            raise ValueError("takes no labels_per_class with labels=none: train_fraction counts images")
        if self.labels_per_class is not None and self.train_fraction is not None:
            raise ValueError("takes labels_per_class or train_fraction, not both")
        return self


class Conv4Encoder(Node):
    target: Literal["aetransfer.networks.conv4.Conv4"] = Field(alias="_target_")
    latent_dim: Width = 128
    widths: Annotated[Widths, Field(min_length=1)] = [32, 64, 128, 256]
    hidden: Widths = []
    kernel_size: Annotated[int, BeforeValidator(no_bool), Field(ge=3, le=63)] = 3
    batch_norm: bool = False
    full_size_width: Width | None = None
    init: Literal["he", "torch"] = "he"

    @property
    def layers(self) -> int:
        """Number of `Encoder.layers_from_input`: the convolutions, what is fully connected, the bottleneck."""
        return len(self.widths) + len(self.hidden) + 1

    def check_shape(self, shape: tuple[int, ...], data: str) -> None:
        """Raise UserError for inputs of a shape that it does not take. data: the key whose inputs they are."""
        match shape:
            case [_, length]:
                of, where, side, mend = "signals", "samples", length, f"set {data}.length"
            case [_, height, width]:
                of, where, side = "images", "pixels", min(height, width)
                mend = f"raise {data}.image_size or {data}.pad"
            case _:
                kind = "vectors" if len(shape) == 1 else f"inputs of {len(shape)} axes"
                raise UserError(
                    f"This encoder (Conv4) takes images and signals, and {data} has {kind}, {shape}: they take "
                    "encoder=mlp."
                )
        smallest = 2 ** len(self.widths)
        if side < smallest:
            raise UserError(
                f"encoder conv4 halves its input {len(self.widths)} times and takes {of} of {smallest} {where} or "
                f"more, not {side}: {mend}, or shorten encoder.widths."
            )


class CustomEncoder(Target):
    """Your own encoder. latent_dim: null if the features are the code, for an encoder that supports it."""

    latent_dim: Width | None

    def check_shape(self, shape: tuple[int, ...], data: str) -> None:
        """Only the encoder itself can know; it raises when it is built or first called."""


CONV4 = "aetransfer.networks.conv4.Conv4"
EncoderNode = Annotated[
    Annotated[Conv4Encoder, Tag(CONV4)] | Annotated[CustomEncoder, Tag("custom")],
    Discriminator(lambda node: CONV4 if _get(node, "_target_", "target") == CONV4 else "custom"),
]


def _none(value: Any) -> Any:
    # `scheduler=none` chooses a file without keys.
    return None if value == {} else value


Schedule = Annotated[SchedulerNode | None, BeforeValidator(_none)]


class Head(Node):
    target: Literal["aetransfer.networks.head.Head"] = Field("aetransfer.networks.head.Head", alias="_target_")
    hidden: Widths = [64]


class CustomHead(Target):
    """Your own head: a module from codes (N, in_features) to (N, outputs)."""


HEAD = "aetransfer.networks.head.Head"
HeadNode = Annotated[
    Annotated[Head, Tag(HEAD)] | Annotated[CustomHead, Tag("custom")],
    Discriminator(lambda node: HEAD if _get(node, "_target_", "target") in (None, HEAD) else "custom"),
]


# What the names of the arms promise: the encoder's first weights, how it is trained, whether the head is linear, and
# whether the learning rate decays toward the input.
ARMS = {
    "scratch": ("fresh", "trained", False, False),
    "random_frozen": ("fresh", "frozen", False, False),
    "random_linear_probe": ("fresh", "frozen", True, False),
    "frozen": ("pretrained", "frozen", False, False),
    "linear_probe": ("pretrained", "frozen", True, False),
    "finetune": ("pretrained", "trained", False, False),
    "finetune_layerwise": ("pretrained", "trained", False, True),
    "gradual": ("pretrained", "gradual", False, False),
    "shuffled": ("shuffled", "trained", False, False),
    "moments": ("moments", "trained", False, False),
    "transplant": ("transplanted", "trained", False, False),
    "transplant_frozen": ("transplanted", "transplant_frozen", False, False),
}


class Arm(Target):
    """What the program must know of an arm before it is built. Its class does not get these keys.

    control: the arm that is the same but uses no pretrained weights; None if this arm is a control. linear_head: in
    place of what the group head says. channels: how to go from the source's number of channels to the target's.
    """

    not_given = ("name", "carries", "control", "linear_head", "channels")
    name: Name
    control: Name | None = None
    linear_head: bool = False
    channels: Literal["inflate", "grey", "repeat_source"] = "inflate"


class Transfer(Arm):
    """An arm of aetransfer."""

    model_config = ConfigDict(extra="forbid")
    target: Literal["aetransfer.transfer.arms.StandardArm"] = Field(
        "aetransfer.transfer.arms.StandardArm", alias="_target_"
    )
    weights: Literal["fresh", "pretrained", "shuffled", "moments", "transplanted"]
    encoder: Literal["trained", "frozen", "gradual", "transplant_frozen"]
    layer_decay: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=1)] = 1.0
    unfrozen_by: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=1)] = 0.5
    transplanted: NonNegativeInt | None = None

    @property
    def carries(self) -> bool:
        return self.weights != "fresh"

    @model_validator(mode="after")
    def _transplants_what_is_said(self) -> Self:
        transplants = self.weights == "transplanted"
        if transplants != (self.transplanted is not None):
            raise ValueError(
                f"has weights={self.weights}, and transplanted goes with weights=transplanted alone: choose "
                "transfer=transplant transfer.transplanted=K, or leave it out"
            )
        if self.encoder == "transplant_frozen" and not transplants:
            raise ValueError("freezes what is transplanted, but transplants nothing: set weights=transplanted")
        return self

    @model_validator(mode="after")
    def _is_what_it_is_called(self) -> Self:
        says = (self.weights, self.encoder, self.linear_head, self.layer_decay < 1)
        if self.name in ARMS and says != ARMS[self.name]:
            raise ValueError(
                f"has weights={self.weights}, encoder={self.encoder}, linear_head={str(self.linear_head).lower()} and "
                f"layer_decay={self.layer_decay:g}, which is not what {self.name} means: give the arm another "
                "transfer.name"
            )
        return self


class CustomTransfer(Arm):
    """Your own arm. carries: whether it starts from a pretraining."""

    carries: bool = True

    @model_validator(mode="after")
    def _has_a_name_of_its_own(self) -> Self:
        if self.name in ARMS:
            raise ValueError(f"is called {self.name}, which means another arm: give it another transfer.name")
        return self

    @model_validator(mode="after")
    def _has_a_control_or_is_one(self) -> Self:
        if self.carries and self.control in (None, self.name):
            raise ValueError(
                "carries an encoder and needs a control: name the arm that is the same but carries nothing with "
                "transfer.control=scratch, or say transfer.carries=false"
            )
        if not self.carries and self.control is not None:
            raise ValueError(f"carries nothing, which makes it a control itself: leave out control={self.control}")
        return self


ARM = "aetransfer.transfer.arms.StandardArm"
TransferNode = Annotated[
    Annotated[Transfer, Tag(ARM)] | Annotated[CustomTransfer, Tag("custom")],
    Discriminator(lambda node: ARM if _get(node, "_target_", "target") in (None, ARM) else "custom"),
]


class Training(Node):
    """Length and precision of training. These keys decide the numbers, on every machine."""

    max_epochs: PositiveInt | None = 20
    max_steps: PositiveInt | None = None
    min_epochs: PositiveInt | None = None
    min_steps: PositiveInt | None = None
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"] = "32-true"
    gradient_clip_val: PositiveFloat | None = None
    gradient_clip_algorithm: Annotated[Literal["norm", "value"] | None, AfterValidator(_unless("norm"))] = None
    accumulate_grad_batches: PositiveInt = 1
    val_check_interval: Batches = None
    check_val_every_n_epoch: Annotated[PositiveInt | None, AfterValidator(_unless(1))] = None
    limit_train_batches: Batches = None
    limit_val_batches: Batches = None
    limit_test_batches: Batches = None
    compile: bool = False

    @model_validator(mode="after")
    def _has_one_end(self) -> Self:
        epochs, steps = self.max_epochs, self.max_steps
        if steps is not None:
            if self.min_epochs is not None:
                raise ValueError(f"has min_epochs={self.min_epochs} beside max_steps={steps}: give min_steps instead")
            if self.min_steps is not None and self.min_steps > steps:
                raise ValueError(f"has min_steps={self.min_steps}, more than max_steps={steps}: lower it")
        elif epochs is None:
            raise ValueError("has neither max_epochs nor max_steps, so that it would never end: set one of them")
        elif self.min_epochs is not None and self.min_epochs > epochs:
            raise ValueError(f"has min_epochs={self.min_epochs}, more than max_epochs={epochs}: lower it")
        elif (self.check_val_every_n_epoch or 1) > epochs:
            raise ValueError(
                f"has check_val_every_n_epoch={self.check_val_every_n_epoch}, more than max_epochs={epochs}: lower it"
            )
        return self

    @model_validator(mode="after")
    def _clips_something(self) -> Self:
        if self.gradient_clip_algorithm is not None and self.gradient_clip_val is None:
            raise ValueError(
                f"has gradient_clip_algorithm={self.gradient_clip_algorithm}, but no gradient_clip_val to clip at: set "
                "that too"
            )
        return self


class Trainer(Training):
    """Length and precision of training, and the device and the processes that it runs on."""

    accelerator: Literal["auto", "cpu", "gpu", "mps", "tpu"] = "auto"
    devices: PositiveInt | Literal["auto"] = 1
    num_nodes: PositiveInt = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"] = "auto"
    deterministic: bool | Literal["warn"] = False
    benchmark: bool | None = None
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    detect_anomaly: bool = False
    log_every_n_steps: PositiveInt = 20
    progress: bool = True

    @model_validator(mode="after")
    def _is_deterministic_or_not(self) -> Self:
        if self.benchmark and self.deterministic:
            raise ValueError(
                "has benchmark=true, which chooses algorithms by the clock, beside deterministic="
                f"{str(self.deterministic).lower()}: leave one of them out"
            )
        return self


class Pretraining(Node):
    """The whole config of the pretraining that a transfer starts from. head: only if its model is a task."""

    seed: Seed = 0
    data: Data
    encoder: EncoderNode
    model: ModelNode
    head: HeadNode | None = None
    optimizer: OptimizerNode
    scheduler: Schedule = None
    trainer: Training
    rerun: bool = False


# In place of a path: a folder of that name is ./timm.
WEIGHTS_OF_TIMM = "timm"


class GivenEncoder(Node):
    """A finished run's directory, a checkpoint, an exported encoder, or a file of weights from elsewhere. `digest` is
    filled in when it is read.

    Only for weights from elsewhere: prefix, what stands before the network's names in the file; mean, deviation: the
    mean and standard deviation of each channel by which inputs are standardised, for pixels in [0, 1].
    """

    path: str
    digest: str | None = None
    prefix: str | None = None
    mean: Annotated[list[Number], Field(min_length=1)] | None = None
    deviation: Annotated[list[PositiveFloat], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.mean is None) != (self.deviation is None):
            raise ValueError("has one of mean and deviation: give both")
        if self.mean is not None and self.deviation is not None and len(self.mean) != len(self.deviation):
            raise ValueError("has mean and deviation of different lengths: give one number a channel")
        return self


Source = Annotated[
    Annotated[GivenEncoder, Tag("given")] | Annotated[Pretraining, Tag("declared")],
    Discriminator(lambda node: "given" if _get(node, "path", "path") is not None else "declared"),
]

# What pydantic puts into an error's location beside keys: the alternatives above.
TAGS = {CONV4, HEAD, ARM, "custom", "given", "declared", "int", "float", "bool", "str"}


Metrics = Annotated[dict[str, MetricNode | None], ByWord]


class Paths(Node):
    data_dir: Annotated[Place, AfterValidator(Path.absolute)]
    output_dir: Place
    cache_dir: Annotated[Place, AfterValidator(Path.absolute)]


class Job(Node):
    """One run: a pretraining (its model is a pretext) or a transfer (a task), once it is resolved.

    test: "left_out" in a search's trials; "alone" if a trial has trained the run already. It is no key of a config.
    """

    seed: Seed = 0
    data: Data
    encoder: EncoderNode
    model: ModelNode
    optimizer: OptimizerNode
    scheduler: Schedule = None
    head: HeadNode | None = None
    transfer: TransferNode | None = None
    pretrain: Source | None = None
    trainer: Trainer
    callbacks: dict[str, Callback | None] = {}
    logger: dict[str, Target | None] = {}
    evaluation: Measures = {}
    metrics: Metrics = {}
    paths: Paths
    allow: list[str] = []
    sweep: dict[str, Any] | None = None
    rerun: bool = False
    reuse: Literal["any_code", "same_code"] = "any_code"
    test: Literal["after_training", "left_out", "alone"] = "after_training"

    @property
    def stage(self) -> Stage:
        """Tell which stage a resolved job is: a pretraining follows no arm."""
        return "pretrain" if self.transfer is None else "transfer"


class EvaluationRequest(Node):
    """What `evaluate` measures: a run, on a split of its own data or of others.

    classes: for the name of a class in the data, the name of the same class in the run.
    """

    run: str
    split: Literal["val", "test"] = "test"
    accelerator: Literal["auto", "cpu", "gpu", "mps", "tpu"] | None = None
    data: Data | None = None
    classes: NameByName | None = None
    evaluation: Measures = {}
    metrics: Metrics = {}
    paths: Paths
    allow: list[str] = []

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if self.evaluation and self.metrics:
            raise ValueError("evaluation and metrics are two questions: ask one after the other")
        return self
