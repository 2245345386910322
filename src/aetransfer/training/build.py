"""From a job's config to the objects Lightning trains: data, model, trainer."""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from inspect import signature
from typing import Any

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler

from aetransfer.config.instantiate import Role, bind, build, class_of_model
from aetransfer.config.nodes import Target
from aetransfer.config.schema import Data, GivenEncoder, Job, Stage
from aetransfer.data.augmented import Augment
from aetransfer.data.module import DataModule
from aetransfer.data.own_batches import OwnDataModule
from aetransfer.data.reader import makes_module
from aetransfer.data.targets import Targets
from aetransfer.errors import UserError
from aetransfer.evaluation.measure import check_measures, measures_of
from aetransfer.models.base import Model, Pretext, Task
from aetransfer.models.length import Length, LimitedTrainer
from aetransfer.models.optimisation import Optimisation
from aetransfer.models.split_metrics import config_metric
from aetransfer.networks.encoder import Encoder
from aetransfer.store.directory import RunDirectory
from aetransfer.training.callbacks.curves import History
from aetransfer.training.callbacks.health import DeadDecoder, Finite
from aetransfer.training.callbacks.progress import EpochLines, Throughput, TimedBar
from aetransfer.training.callbacks.resume import AtomicCheckpoints, Resume
from aetransfer.training.strategy import Sharded, Worker, shares_statistics
from aetransfer.transfer.arms import Arm
from aetransfer.transfer.carry import Initial, carry_, continue_, initialise_, make_arm
from aetransfer.transfer.exported import FLOATS
from aetransfer.transfer.loading import build_encoder, make_head

log = logging.getLogger(__name__)

# What Lightning's Trainer doesn't know, or calls otherwise.
OWN_SETTINGS = {
    *("compile", "progress", "profiler", "strategy", "max_epochs", "max_steps", "check_val_every_n_epoch"),
}
PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def make_data(data: Data, seed: int, allow: list[str], stage: Stage = "transfer") -> DataModule:
    """Build the data module; no file is opened before its `setup`. stage: a transfer asks more of its data."""
    # The rest of the keys are the reader's, where its node passes them on.
    settings = data.model_dump(include=signature(DataModule).parameters.keys() - {"reader", "shape", "augment"})
    augment = Augment.of(_transforms(data.augment, allow))
    reader = bind(data.reader, "reader", allow)
    kind = OwnDataModule if makes_module(reader) else DataModule
    if stage == "pretrain" and reader.keywords.get("labels", "classes") is None:
        # A source may have none; a reader whose config leaves that open is told so.
        reader = partial(reader, labels="inferred")
    return kind(
        reader,
        shape=data.unpadded_shape,
        stated=data.stated is not None,
        augment=augment,
        seed=seed,
        classifies=stage == "transfer",
        **settings,
    )


def _transforms(nodes: Mapping[str, Target | None], allow: list[str]) -> list[Any]:
    return [build(node, "augmentation", allow) for node in nodes.values() if node is not None]


def architecture_of(job: Job) -> dict[str, Any]:
    """Return what `build` needs to make this job's encoder again: plain data that a checkpoint can carry."""
    node = job.encoder.model_dump(mode="json", by_alias=True)
    assert job.data.input_shape is not None, "the data were looked at"
    return {**node, "input_shape": list(job.data.input_shape), **({FLOATS: True} if job.data.floats else {})}


def make_encoder(job: Job) -> Encoder:
    """Build the job's encoder with fresh weights. Raises UserError where the target is no Encoder."""
    return build_encoder(architecture_of(job), job.allow)


def outputs_of(job: Job, targets: Targets) -> int:
    """Return how many numbers the job's head gives, 0 where it has none. Raises UserError for data it can't learn."""
    kind = class_of_model(job.model.target, job.allow)
    return kind.outputs_for(targets, job.data.name) if issubclass(kind, Task) else 0


def make_model(
    job: Job,
    encoder: Encoder,
    outputs: int,
    arm: Arm | None = None,
    untrained: tuple[str, ...] = (),
    trains: bool = True,
) -> Model:
    """Wrap the encoder in the job's model; its architecture goes into every checkpoint.

    outputs: as `outputs_of` gives them. arm: what the encoder began by. untrained: parts of the encoder that the source
    left so. trains: whether arm, optimiser and schedule are needed, and what chooses the epoch. Raises UserError where
    one of the targets is of another kind, or refuses its keys.
    """
    kind = class_of_model(job.model.target, job.allow)
    if not issubclass(kind, Pretext | Task):
        raise UserError(f"_target_: {job.model.target} is no model: subclass {Pretext.__module__}.Pretext or Task.")
    given: dict[str, Any] = {"encoder": encoder}
    if issubclass(kind, Task):
        given |= {"head": make_head(job, encoder.latent_dim, outputs), "outputs": outputs}
    if job.model.views is not None:
        given["views"] = _transforms(job.model.views, job.allow)
    model: Model = build(job.model, "model", job.allow, **given)
    model.seed = job.seed
    for name, metric in job.metrics.items():
        if metric is not None:
            model.add_metric(name, config_metric(name, metric, outputs, job.allow))
    if job.model.monitor is not None and trains:
        model.choose_by(job.model.monitor, job.model.monitor_mode)
    if trains and isinstance(model, Task) and job.transfer is not None:
        model.follow(arm or make_arm(job.transfer, job.allow))
    model.make_metrics()
    if trains:
        model.optimisation = make_optimisation(job)
        # What an optimiser or a schedule refuses is said before hours of pretraining.
        model.optimisation.make(model.rates(), steps=100, mode=model.monitor_mode)
    still = [
        name for name in untrained if not any(each.requires_grad for each in encoder.get_submodule(name).parameters())
    ]
    model.untrained = tuple(dict.fromkeys([*model.untrained, *still]))
    hyperparameters: dict[str, Any] = {"architecture": architecture_of(job), "untrained": list(model.untrained)}
    if isinstance(model, Task):
        hyperparameters["outputs"] = outputs
    model.save_hyperparameters(hyperparameters, logger=False)
    if len(encoder.input_shape) == 3:
        # Convolutions run faster channels-last on CPUs and on tensor cores; the weights' layout decides.
        model.to(memory_format=torch.channels_last)
    if job.trainer.compile:
        for part in model.children():
            if any(True for _ in part.parameters()):
                part.compile()
    return model


def initial_model(job: Job, data: DataModule, source: str | None) -> tuple[Model, dict[str, Any]]:
    """Make the model as training starts with it: its encoder fresh, carried or continued, frozen as the arm says.

    Returns with it what result.json says of where its weights come from. Raises UserError for what does not fit.
    """
    check_classes(job.data, data)
    outputs = outputs_of(job, data.targets)
    encoder, initial = make_encoder(job), Initial()
    given = job.pretrain if isinstance(job.pretrain, GivenEncoder) else None
    arm = None if job.transfer is None else make_arm(job.transfer, job.allow)
    if source is None and (job.transfer is None or not job.transfer.carries):
        encoder.normalise.set_statistics(*data.statistics())
    if arm is not None:
        initial = initialise_(encoder, source, arm, job.seed, given)
    elif source is not None:
        initial = carry_(encoder, source, given)
    model = make_model(job, encoder, outputs, arm, () if arm is None else initial.untrained)
    if isinstance(model, Task):
        model.names = data.targets.names
        model.learn_from(data.training_targets())
    origin: dict[str, Any] = {} if initial.taken is None else {"weights": initial.taken.as_dict()}
    if source is not None and arm is not None:
        log.info("Carried the encoder of %s", source)
    elif source is not None:
        origin["continued"] = continue_(model, source, initial)
        log.info("Continued from %s: %s", source, origin["continued"])
    check_measures(measures_of(job.evaluation, job.allow), model.facts(job.model.name), data, job.data.name)
    return model, origin


def check_classes(config: Data, data: DataModule) -> None:
    """Raise UserError where the config says another number of classes than there are."""
    classes = len(data.class_names)
    if classes and config.classes not in (None, classes):
        raise UserError(f"{config.name} has {classes} classes, but data.classes={config.classes}: correct it.")


def make_optimisation(job: Job) -> Optimisation:
    """Return how a job's model is optimised; nothing is built before there are parameters."""
    node, scheduler = job.optimizer, job.scheduler
    return Optimisation(
        optimizer=bind(node, "optimizer", job.allow, later=["params"]),
        lr=node.lr,
        encoder_lr=node.encoder_lr or node.lr,
        scheduler=None if scheduler is None else bind(scheduler, "scheduler", job.allow, later=["optimizer"]),
        interval="epoch" if scheduler is None else scheduler.interval,
    )


def make_trainer(
    job: Job,
    directory: RunDirectory,
    model: Model,
    throughput: Throughput | None = None,
    worker: Worker | None = None,
) -> Trainer:
    """Build the Trainer with the job's callbacks and loggers, for one of the processes that do the job together.

    throughput: the one that others ask how far training is. Raises UserError for hardware that isn't there.
    """
    throughput, worker = throughput or Throughput(), worker or Worker()
    places = {"run_dir": str(directory.path), "run_name": directory.path.name}
    places |= {"monitor": model.monitor, "monitor_mode": model.monitor_mode}
    # Checkpoints are made in this order, so that the last state knows the best epoch.
    finite = Finite(job.trainer.log_every_n_steps)
    callbacks: list[Callback] = [
        Length(),
        throughput,
        finite,
        DeadDecoder(),
        History(directory.history),
        ModelCheckpoint(
            dirpath=directory.checkpoints,
            filename="best",
            monitor=model.monitor,
            mode=model.monitor_mode,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        ),
        Resume(directory.last, directory.previous, finite),
    ]
    callbacks += [_built(node, "callback", places, job.allow) for node in job.callbacks.values() if node is not None]
    if job.trainer.progress:
        callbacks.append(TimedBar(throughput) if sys.stdout.isatty() else EpochLines(throughput))
    if job.logger:
        # A logger's database may lie there, and a transfer is rehearsed before its own directory is made.
        with suppress(OSError):
            job.paths.output_dir.mkdir(parents=True, exist_ok=True)
    loggers: list[Logger] = [
        _built(node, "logger", places, job.allow) for node in job.logger.values() if node is not None
    ]
    try:
        trainer = LimitedTrainer(
            **job.trainer.model_dump(exclude=OWN_SETTINGS),
            max_epochs=job.trainer.max_epochs or -1,
            check_val_every_n_epoch=job.trainer.check_val_every_n_epoch or 1,
            strategy=Sharded() if job.trainer.strategy == "fsdp" else job.trainer.strategy,
            # Into the run directory: Lightning would only log what it found.
            profiler=PROFILERS[job.trainer.profiler](directory.path, "profile") if job.trainer.profiler else None,
            plugins=[AtomicCheckpoints(), worker],
            callbacks=callbacks,
            logger=loggers or False,
            default_root_dir=directory.path,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            sync_batchnorm=shares_statistics(job, model, worker.size),
        )
    except (MisconfigurationException, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"trainer.accelerator={job.trainer.accelerator} with devices={job.trainer.devices} is not to be had on "
            f"this machine ({reason}): choose auto or cpu."
        ) from error
    trainer.steps = job.trainer.max_steps
    # On SIGTERM Lightning would stop where no state is kept, or wait for ranks: `aetransfer.signals` has them.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def _built(node: Target, role: Role, places: dict[str, str], allow: list[str]) -> Any:
    """Fill {run_dir}, {run_name}, {monitor} and {monitor_mode} in, which no config can know when it is written."""
    try:
        filled = _filled(node.as_written(), places)
    except (LookupError, ValueError) as error:
        raise UserError(f"{node.target}: braces may hold {', '.join(places)}, not {error}.") from error
    try:
        return build(filled, role, allow)
    except MisconfigurationException as error:
        raise UserError(f"{node.target}: {error}.") from error


def _filled(value: Any, places: dict[str, str]) -> Any:
    """Fill in the texts of a node, at whatever depth they stand."""
    match value:
        case str():
            return value.format(**places)
        case dict():
            return {key: _filled(item, places) for key, item in value.items()}
        case list():
            return [_filled(item, places) for item in value]
    return value
