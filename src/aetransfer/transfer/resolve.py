"""From a composed config to the job it means, before anything is read or trained.

What belongs to the other stage is dropped, channels are resolved between source and target, and a given encoder's
architecture replaces the config's. Two configs that mean the same job resolve to the same job.
"""

from typing import Any, TypeVar

from aetransfer.config.instantiate import TIMM, check_allow, kind_of
from aetransfer.config.schema import (
    WEIGHTS_OF_TIMM,
    Data,
    GivenEncoder,
    Head,
    Job,
    Pretraining,
    Trainer,
    Training,
    Transfer,
    TransferNode,
)
from aetransfer.config.shapes import of_shape
from aetransfer.errors import UserError
from aetransfer.transfer.exported import FLOATS, digest_of, read_description, whole_model
from aetransfer.transfer.foreign import check_ending, completed, is_foreign
from aetransfer.transfer.nodes import check_nodes, check_transforms

SIZES_OF_BOTH = "set pretrain.data.pad or data.pad so that both agree"
# By how many axes an input of source and target has.
WHAT_AGREES = {
    (1, 1): "choose data of as many",
    (2, 2): "set pretrain.data.length and data.length so that both agree",
    (3, 3): "set pretrain.data.pad or data.pad so that both agree, or choose images of one size",
}
SIZE_OF_DATA = "set data.pad or data.image_size to fit"
# What a pretraining that is declared says itself.
OF_A_STAGE = ("seed", "data", "encoder", "model", "optimizer", "scheduler", "head", "rerun")
ONLY_TRANSFER = ("transfer", "head", "pretrain", "metrics")
# As configs/transfer/scratch.yaml has it.
SCRATCH = Transfer(name="scratch", weights="fresh", encoder="trained")

Length = TypeVar("Length", bound=Training)
Stage = TypeVar("Stage", Job, Pretraining)


def resolve(job: Job, overrides: list[str]) -> Job:
    """Return the job that a config means. `overrides`: what the command line set, which nothing may quietly undo.

    Raises UserError where source and target don't fit together, for code that the command line does not allow or that
    takes other keys, and for a measure that the model does not have.
    """
    check_allow(job.allow, overrides)
    job = _resolved(job, overrides)
    check_nodes(job)
    return job


def _resolved(job: Job, overrides: list[str]) -> Job:
    name = job.model.name
    _check_taken(job, job.data, "data")
    job = job.model_copy(update={"trainer": _with_one_end(job.trainer, "trainer", overrides)})
    if isinstance(job.pretrain, Pretraining):
        trainer = _with_one_end(job.pretrain.trainer, "pretrain.trainer", overrides)
        job = job.model_copy(update={"pretrain": job.pretrain.model_copy(update={"trainer": trainer})})
    if kind_of(job.model.target, job.allow) == "pretext":
        _check_stage(job, overrides)
        given = job.pretrain if isinstance(job.pretrain, GivenEncoder) else None
        job = job.model_copy(update={"transfer": None, "head": None, "pretrain": given, "metrics": {}})
        return job if given is None else _from_given(job, given, overrides)
    transfer = job.transfer
    if transfer is None or job.head is None:
        raise UserError(f"model={name} is a transfer and needs the transfer and head groups.")
    if job.data.labels == "none":
        raise UserError(f"model={name} learns labels, and data.labels=none takes none: leave it out.")
    if transfer.linear_head:
        for override in overrides:
            if _key(override).split(".")[0] == "head" and override != "head=linear":
                arm = f"transfer={transfer.name} has a linear head"
                raise UserError(f"{arm}, so {override} has no meaning: leave it out.")
        job = job.model_copy(update={"head": Head(hidden=[])})
    match job.pretrain:
        case Pretraining() as declared:
            return _from_declared(job, transfer, declared, overrides)
        case GivenEncoder() as given:
            return _from_given(job, given, overrides)
    if transfer.carries:
        raise UserError(f"transfer={transfer.name} carries an encoder: say which with pretrain=MODEL or pretrain=PATH.")
    return job


def _with_one_end(trainer: Length, place: str, overrides: list[str]) -> Length:
    """Drop the epochs where steps say how long: those are a file's, or nobody's choice."""
    if trainer.max_steps is None:
        return trainer
    for override in overrides:
        if _key(override) == f"{place}.max_epochs" and override.partition("=")[2] not in ("", "null"):
            both = any(_key(other) == f"{place}.max_steps" for other in overrides)
            mend = "leave one of them out" if both else f"leave it out, or add {place}.max_steps=null"
            raise UserError(
                f"{place}.max_steps={trainer.max_steps} alone says how long it trains, so {override} has no meaning: "
                f"{mend}."
            )
    return trainer.model_copy(update={"max_epochs": None})


def pretraining_of(job: Job) -> Job:
    """Return the pretraining that a resolved transfer starts from, as a job of its own on the same machine."""
    source = job.pretrain
    assert isinstance(source, Pretraining)
    where = job.trainer.model_dump(exclude=set(Training.model_fields))
    return job.model_copy(
        update={
            **{key: getattr(source, key) for key in OF_A_STAGE},
            "trainer": Trainer.model_validate(where | source.trainer.model_dump(include=set(Training.model_fields))),
            # A supervised source is a task that nothing was carried to.
            "transfer": None if source.head is None else SCRATCH,
            "pretrain": None,
            "evaluation": {},
            "metrics": {},
        }
    )


def _check_stage(job: Job, overrides: list[str]) -> None:
    continues = isinstance(job.pretrain, GivenEncoder)
    for override in overrides:
        # pretrain=PATH arrives as two words.
        if continues and (override == "pretrain=given" or _key(override) == "pretrain.path"):
            continue
        if _key(override).split(".")[0] in ONLY_TRANSFER:
            typed = override.removeprefix("model@")
            mend = ", or give a run to go on from (pretrain=PATH)" if typed.startswith("pretrain=") else ""
            raise UserError(f"model={job.model.name} is a pretraining, so {typed} has no meaning: leave it out{mend}.")


def _key(override: str) -> str:
    """Return the dotted key that an override sets: `pretrain.data` for data@pretrain.data=digits."""
    return override.lstrip("+~").partition("=")[0].rpartition("@")[2]


def _from_declared(job: Job, transfer: TransferNode, source: Pretraining, overrides: list[str]) -> Job:
    source = source.model_copy(update={"encoder": job.encoder})
    if transfer.carries:
        source = _with_head_of_task(source, job, overrides)
        _check_held_out(job.data, source.data)
        _check_taken(job, source.data, "pretrain.data")
    if (stated := source.data.stated) and job.data.stated and stated[0] != job.data.stated[0]:
        match transfer.channels:
            case "repeat_source":
                source = _with_channels(source, job.data.channels)
            case "grey":
                job = _with_channels(job, stated[0])
            case "inflate":
                _check_inflates(stated[0], job)
    if transfer.carries and source.rerun:
        # What starts from a pretraining that is done afresh is no longer what it was.
        job = job.model_copy(update={"rerun": True})
    if transfer.carries and (shape := source.data.input_shape):
        _check_size(shape, job, SIZES_OF_BOTH)
    return job.model_copy(update={"pretrain": source})


def sees_the_same(target: Data, source: Data) -> bool:
    """Tell whether a source has examples of its target, or, with data.groups, of the target's groups."""
    place = (target.root, target.table) == (source.root, source.table) and target.root is not None
    return source.reader == target.reader or (place and target.groups is not None)


def _check_held_out(target: Data, source: Data) -> None:
    """Raise UserError where the pretraining would see what the transfer is tested on."""
    held = {key: getattr(target, key) for key in ("test_fraction", "folds", "fold")}
    held = {key: value for key, value in held.items() if value is not None}
    if sees_the_same(target, source) and any(getattr(source, key) != value for key, value in held.items()):
        words = " ".join(f"data.{key}={value}" for key, value in held.items())
        raise UserError(
            f"pretrain.data is of what data is, and the pretraining would see what {words} tests on: set "
            f"{' '.join(f'pretrain.data.{key}=${{data.{key}}}' for key in held)} too, in quotes."
        )


def _check_taken(job: Job, data: Data, key: str) -> None:
    """Raise UserError for inputs that the encoder does not take, where it is known what they are."""
    if data.input_shape is not None:
        job.encoder.check_shape(data.input_shape, key)


def check_found(job: Job) -> None:
    """Check of a resolved job what only the data say, once they were looked at. Raises UserError as `resolve`."""
    check_transforms(job)
    described = None
    if isinstance(job.pretrain, GivenEncoder) and not is_foreign(job.pretrain.path):
        described = None if job.pretrain.path == WEIGHTS_OF_TIMM else read_description(job.pretrain.path)
    source = job.pretrain.data if isinstance(job.pretrain, Pretraining) else None
    if job.data.stated and (source is None or source.stated) and (described is None or described.takes_images):
        return
    for data, key in ((job.data, "data"), *([] if source is None else [(source, "pretrain.data")])):
        _check_taken(job, data, key)
    carries = job.transfer is None or job.transfer.carries
    given = source.input_shape if source is not None else described and tuple(described.architecture["input_shape"])
    if not carries or not given:
        return
    floats = source.floats if source is not None else described and described.architecture.get(FLOATS)
    _check_size(given, job, WHAT_AGREES.get((len(given), len(job.data.input_shape or ())), "choose data of one kind"))
    assert job.data.input_shape is not None
    if bool(floats) != bool(job.data.floats):
        kinds = [("values of their own units" if each else "pixels in [0, 1]") for each in (floats, job.data.floats)]
        raise UserError(
            f"The source's encoder takes {kinds[0]}, but {job.data.name} gives {kinds[1]}: choose other data."
        )
    if given[0] != job.data.input_shape[0]:
        how = None if job.transfer is None else job.transfer.channels
        if how != "inflate" or given[0] != 1:
            raise UserError(
                f"The source has {given[0]} channels and {job.data.name} has {job.data.input_shape[0]}: choose data of "
                "as many, or a source of one channel, which transfer.channels=inflate repeats (8-bit images of 1 or 3 "
                "are converted where data.channels and data.image_size say so)."
            )


def _with_head_of_task(source: Pretraining, job: Job, overrides: list[str]) -> Pretraining:
    """Return a pretraining with a head where its model is a task, without one where it is a pretext."""
    if kind_of(source.model.target, job.allow) == "task":
        if source.head is None or source.data.labels == "none":
            raise UserError(
                f"pretrain={source.model.name} learns labels: it needs pretrain.head, and data with labels."
            )
        return source
    if asked := [override for override in overrides if _key(override).startswith("pretrain.head")]:
        raise UserError(f"pretrain={source.model.name} has no head, so {asked[0]} has no meaning: leave it out.")
    return source.model_copy(update={"head": None})


def _from_given(job: Job, given: GivenEncoder, overrides: list[str]) -> Job:
    """Let a transfer, or a pretraining that goes on, start from a finished run or a file."""
    if _checked_foreign(given):
        return _from_foreign(job, given, overrides)
    described = read_description(given.path)
    architecture = {key: value for key, value in described.architecture.items() if key not in ("input_shape", FLOATS)}
    _check_encoder(architecture, job, given.path, overrides)
    given_now = {"path": given.path, "digest": described.digest}
    job = Job.model_validate(job.model_dump(by_alias=True) | {"encoder": architecture, "pretrain": given_now})
    if job.data.stated:
        channels, own = described.image[0], job.data.channels
        if channels != own:
            match job.transfer and job.transfer.channels:
                case None:
                    raise UserError(
                        f"{given.path} was trained on {channels}-channel images, but {job.data.name} gives {own} "
                        f"channels: set data.channels={channels}."
                    )
                case "repeat_source":
                    raise UserError(
                        f"{given.path} was trained on {channels}-channel images, so transfer.channels=repeat_source "
                        "comes too late: choose inflate or grey."
                    )
                case "grey":
                    job = _with_channels(job, channels)
                case "inflate":
                    _check_inflates(channels, job)
        _check_size(described.image, job, SIZE_OF_DATA)
    if job.transfer is not None:
        return job
    # Beside the encoder, a checkpoint gives the rest of its model.
    whole = whole_model(given.path)
    digest = described.digest if whole is None else digest_of(whole)
    return job.model_copy(update={"pretrain": GivenEncoder(path=given.path, digest=digest)})


def _checked_foreign(given: GivenEncoder) -> bool:
    """Tell whether what is given are others' weights. Raises UserError for keys that only such have."""
    check_ending(given.path)
    if given.path == WEIGHTS_OF_TIMM or is_foreign(given.path):
        return True
    for key in ("prefix", "mean", "deviation"):
        if getattr(given, key) is not None:
            raise UserError(f"{given.path} is of this program and says pretrain.{key} itself: leave that out.")
    return False


def _from_foreign(job: Job, given: GivenEncoder, overrides: list[str]) -> Job:
    """Let others' weights start the network that the config names, of the data's channels."""
    for override in overrides:
        if _key(override) == "transfer.channels":
            raise UserError(f"{override} is for encoders of this program: others' weights take data.channels=3.")
    if job.transfer is not None and not job.transfer.carries:
        return job
    model = getattr(job.encoder, "model", None) if job.encoder.target == TIMM else None
    return job.model_copy(update={"pretrain": completed(given, model, digest_of)})


def _check_encoder(architecture: dict[str, Any], job: Job, path: str, overrides: list[str]) -> None:
    asked = job.encoder.model_dump(by_alias=True)
    for override in overrides:
        group, _, key = _key(override).partition(".")
        # Choosing the group's file asks for its class; the given encoder may still have other widths than the file.
        key = key or "_target_"
        if group == "encoder" and asked.get(key) != architecture.get(key):
            raise UserError(
                f"{path} holds an encoder with {key}={architecture.get(key)}, but {override} was asked for: leave that "
                "out, or pretrain such an encoder."
            )


def _with_channels(stage: Stage, channels: int | None) -> Stage:
    return stage.model_copy(update={"data": stage.data.model_copy(update={"channels": channels})})


def _check_inflates(source_channels: int, job: Job) -> None:
    if source_channels != 1:
        raise UserError(
            f"transfer.channels=inflate goes from 1 channel to several, not from {source_channels} to "
            f"{job.data.channels}: set data.channels={source_channels}."
        )


def _check_size(source: tuple[int, ...], job: Job, hint: str) -> None:
    """Raise UserError where inputs of source and target differ in more than their channels. source: what it takes."""
    own = job.data.input_shape
    if own is not None and (source[1:] != own[1:] or (len(own) == 1 and source != own)):
        raise UserError(
            f"The source's encoder takes {of_shape(source)}, but {job.data.name} gives {of_shape(own)}: {hint}."
        )
