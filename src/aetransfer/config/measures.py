"""What can be measured of a finished run: the schema of the `evaluation` group. Its files combine."""

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from aetransfer.config.nodes import Node, PositiveFloat, PositiveInt, Seed
from aetransfer.errors import UserError

Probe = Literal["knn", "logistic", "mlp"]
Baseline = Literal["random", "pixels", "pca"]

NEEDS = {
    "reconstruct": "reconstructs its inputs",
    "posterior": "gives a posterior",
    "classify": "tells classes apart",
}


class Measure(Node):
    """What a measure takes.

    needs_memory: its settings on which depends how much memory it takes. needs: what a model must do to be measured,
    a key of NEEDS, or nothing. needs_labels: whether the data must have some.
    """

    needs_labels: ClassVar[bool] = False
    needs_memory: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[str] = ""


class Probes(Measure):
    """Small models on frozen features, each beside those on features that nothing was learnt for."""

    needs_labels = True
    needs_memory = ("max_features",)

    probes: Annotated[list[Probe], Field(min_length=1)] = list(get_args(Probe))
    baselines: list[Baseline] = list(get_args(Baseline))
    layers: Annotated[list[str], Field(min_length=1)] | None = None
    max_features: PositiveInt = 1024
    neighbours: Annotated[list[PositiveInt], Field(min_length=1)] = [1, 5, 20]
    inverse_penalties: Annotated[list[PositiveFloat], Field(min_length=1)] = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    hidden: list[PositiveInt] = [256]
    mlp_epochs: PositiveInt = 20
    seed: Seed = 0


class Reconstruction(Measure):
    """MSE, PSNR, SSIM beside PCA; there is nothing to set."""

    needs = "reconstruct"


class Variational(Measure):
    """A VAE's terms, and importance-weighted likelihood from `samples` codes each of `images` images."""

    needs_memory = ("decoded_at_once", "samples")
    needs = "posterior"

    samples: PositiveInt = 500
    images: PositiveInt | None = 1000
    decoded_at_once: PositiveInt = 2000
    seed: Seed = 0


class Fid(Measure):
    """Frechet distances in the features of a classifier trained here, and of Inception where its weights are given."""

    needs_labels = True
    needs_memory = ("images",)
    needs = "reconstruct"

    images: Annotated[PositiveInt, Field(ge=2)] = 10000
    epochs: PositiveInt = 3
    inception_weights: str | None = None
    seed: Seed = 0


class Representation(Measure):
    """CKA with other encoders (paths), and effective rank."""

    needs_memory = ("batch", "images", "max_features")

    others: list[str] = []
    images: Annotated[PositiveInt, Field(ge=4)] = 2000
    batch: Annotated[PositiveInt, Field(ge=4)] = 250
    max_features: PositiveInt = 1024
    seed: Seed = 0


class Transferability(Measure):
    """LogME and H-score of the encoder that is carried, on training images of the data."""

    needs_labels = True
    needs_memory = ("images", "max_features")

    images: Annotated[PositiveInt, Field(ge=2)] = 10000
    max_features: PositiveInt = 512
    seed: Seed = 0


class Classification(Measure):
    """A model that classifies, class by class, and its calibration; there is nothing to set."""

    needs_labels = True
    needs = "classify"


class Measures(Node):
    """Which measures to take, each with its settings; None: not that one."""

    probes: Probes | None = None
    reconstruction: Reconstruction | None = None
    vae: Variational | None = None
    fid: Fid | None = None
    representation: Representation | None = None
    transferability: Transferability | None = None
    classifier: Classification | None = None

    def chosen(self) -> dict[str, Measure]:
        """Return the settings of each measure to take, by its name."""
        return {name: settings for name in type(self).model_fields if (settings := getattr(self, name)) is not None}

    @classmethod
    def named(cls, kind: type[Measure]) -> str:
        """Return the name of a kind of measure: of its key here, of its file in configs/evaluation."""
        return next(name for name, field in cls.model_fields.items() if kind in get_args(field.annotation))

    def check_model(self, can: Collection[str] | None, title: str) -> None:
        """Raise UserError for a measure that a model does not have.

        can: as in `aetransfer.models.facts.ModelFacts`; None, where nobody knows, refuses nothing. title: of the model.
        """
        for name, settings in self.chosen().items():
            if settings.needs and can is not None and settings.needs not in can:
                raise UserError(
                    f"evaluation={name} needs a model that {NEEDS[settings.needs]}, and this run's ({title}) does not: "
                    "leave it out."
                )

    def check_labels(self, data: str, classes: int) -> None:
        """Raise UserError for a measure of classes where the data have none. data: their name."""
        for name, settings in self.chosen().items():
            if settings.needs_labels and not classes:
                raise UserError(f"evaluation={name} needs labels, and {data} has none: leave it out.")
