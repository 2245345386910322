"""A finished run, measured again: by its own metrics, or by the measures of `aetransfer.evaluation`."""

import logging
from typing import Any

from pytorch_lightning import seed_everything

from aetransfer.config.nodes import Target
from aetransfer.config.schema import Data, EvaluationRequest, Job
from aetransfer.config.shapes import of_shape
from aetransfer.data.module import DataModule
from aetransfer.data.reading import other_range
from aetransfer.data.targets import listed, places_of
from aetransfer.errors import UserError
from aetransfer.evaluation.measure import Subject, check_measures, measures_of, take
from aetransfer.models.base import Model, Task
from aetransfer.report.run import leave_page
from aetransfer.store.directory import RunDirectory, check_best
from aetransfer.store.finished import is_finished
from aetransfer.store.identity import at_root, contents_of_data, with_shape
from aetransfer.store.record import changes_since
from aetransfer.training import errors, logs
from aetransfer.training.build import (
    architecture_of,
    check_classes,
    make_data,
    make_encoder,
    make_model,
    make_trainer,
    outputs_of,
)
from aetransfer.training.stages import metrics_of
from aetransfer.transfer.card import read_targets
from aetransfer.transfer.exported import load_weights, preprocessing_beside, read_checkpoint
from aetransfer.transfer.loading import outputs_of_head

log = logging.getLogger(__name__)

DOWNLOADED = {
    f"aetransfer.data.readers.{name}"
    for name in ("idx.read_mnist", "idx.read_fashion_mnist", "cifar.read_cifar10", "cifar.read_cifar100")
}


def evaluate(request: EvaluationRequest) -> dict[str, float]:
    """Measure a finished run's best epoch on a split of its own data or another's, as the run itself did.

    Returns metrics by name. Raises UserError for a run without a checkpoint, or data of another shape.
    """
    directory, job, content = _finished(request)
    with errors.memory_for(_smaller_batches(request, job.data)):
        data = make_data(job.data.as_it_is, job.seed, job.allow, job.stage)
        data.setup("test" if request.split == "test" else "fit")
        _warn_of_another_range(directory, data)
        model = _model_to_evaluate(request, directory, job, data, content)
        trainer = make_trainer(job, directory, model)
        evaluation = trainer.test if request.split == "test" else trainer.validate
        load_weights(content, model, directory.best)
        evaluation(model, datamodule=data, verbose=False)
        return metrics_of(trainer.callback_metrics)


def measure(request: EvaluationRequest) -> None:
    """Take the measures that are asked for of a finished run's best epoch; print them, write them beside the run.

    Raises UserError as `evaluate`, and for a measure that the model does not have.
    """
    directory, job, content = _finished(request)
    # A compiled encoder would not tell its layers.
    job = job.model_copy(update={"trainer": job.trainer.model_copy(update={"compile": False}), "metrics": {}})
    # What a measure itself needs, its own settings decide.
    with errors.memory_for(""):
        # The training split alone is opened here: what is chosen for a measure is chosen there.
        data = make_data(job.data.as_it_is, job.seed, job.allow, job.stage)
        data.setup("fit")
        if request.split == "test":
            data.check_test()
        measures = measures_of(request.evaluation, request.allow)
        _warn_of_another_range(directory, data)
        reads_targets = any(measure.needs in ("classify", "regress", "label") for measure in measures)
        model = _model_to_evaluate(request, directory, job, data, content, reads_targets)
        check_measures(measures, model.facts(job.model.name), data, job.data.name)
        device = make_trainer(job, directory, model).strategy.root_device
        load_weights(content, model, directory.best)
        model.eval().to(device)
        called = request.classes or {}
        subject = Subject(directory, job, model, data, request.split, device, architecture_of(job), called)
        take(subject, measures)
    leave_page(directory)


def _warn_of_another_range(directory: RunDirectory, data: DataModule) -> None:
    trained = preprocessing_beside(directory.best)
    if trained is not None and (said := other_range(data.reading, trained.reading)):
        log.warning("%s.", said)


def _smaller_batches(request: EvaluationRequest, data: Data) -> str:
    """Say how to need less memory: the run's own data keep its batches unless they are named."""
    named = "" if request.data is not None else f"name the run's data in the command (data={data.name}) and "
    return f"{named}lower data.batch_size={data.batch_size} or data.max_memory_gb={data.max_memory_gb:g}"


def _finished(request: EvaluationRequest) -> tuple[RunDirectory, Job, dict[str, Any]]:
    directory = RunDirectory.existing(request.run)
    if not is_finished(directory):
        raise UserError(f"{request.run} has not finished: the command that began it goes on where it stopped.")
    check_best(directory)
    own = directory.read_config()
    job = _to_evaluate(own, request)
    now = contents_of_data(job.data, request.paths, request.allow)
    if request.data is None and (changes := changes_since(directory, own.data, now)):
        raise UserError(
            f"{request.run} was trained on other data than there are now{at_root(job.data)} ({changes}): put them "
            f"back, or name the data (data={job.data.name} ...) to measure them as they are."
        )
    job = job.model_copy(update={"data": job.data.model_copy(update={"digest": now.digest})})
    content = read_checkpoint(directory.best)
    # Somebody else's config may ask for a network that fills the memory; the weights that are there don't.
    # A key that is newer than the checkpoint has its default.
    built = content["hyper_parameters"]["architecture"]
    if built != {key: value for key, value in architecture_of(job).items() if key in built}:
        raise UserError(f"{directory.config} and {directory.best} are not of one run: their encoders differ.")
    logs.quiet_lightning()
    seed_everything(job.seed, verbose=False)
    return directory, job, content


def _model_to_evaluate(
    request: EvaluationRequest,
    directory: RunDirectory,
    job: Job,
    data: DataModule,
    content: dict[str, Any],
    reads_targets: bool = True,
) -> Model:
    """Build the run's model, still without its weights; its targets are those of the data by name.

    reads_targets: whether what is measured compares what the run predicts with the data's targets. Raises UserError for
    data of others.
    """
    check_classes(job.data, data)
    outputs = 0
    if job.head is not None:
        outputs = outputs_of_head(job.head, content)
        if reads_targets:
            _match_targets(request, directory, job, data, outputs)
    model = make_model(job, make_encoder(job), outputs, trains=False)
    if isinstance(model, Task):
        model.names = data.targets.names
    return model


def _match_targets(
    request: EvaluationRequest, directory: RunDirectory, job: Job, data: DataModule, outputs: int
) -> None:
    given, known, name = data.targets, read_targets(directory.path), job.data.name
    if known is None or not known.names:
        if outputs_of(job, given) != outputs:
            raise UserError(
                f"The run tells {outputs} classes apart, but {name} has {len(given.names)}: choose other data."
            )
        log.warning("The run does not say what its classes are called: %s's are taken in their order.", name)
        return
    if outputs_of(job, known) != outputs:
        raise UserError(f"{directory.encoder_card} and {directory.best} are not of one run: their targets differ.")
    if given.kind != known.kind:
        raise UserError(f"The run learnt {known}, but {name} has {given}: choose other data.")
    if known.kind == "classes":
        _match_classes(request, known.names, data, name)
        return
    if missing := [each for each in known.names if each not in given.names]:
        raise UserError(
            f"The run predicts {listed(known.names, 'in all')}, and {name} has no {listed(missing, 'in all')}: it has "
            f"{listed(given.names, 'in all')}, give its targets the names of the run's."
        )
    data.take_targets(known.names, [given.names.index(each) for each in known.names])


def _match_classes(request: EvaluationRequest, known: tuple[str, ...], data: DataModule, name: str) -> None:
    places = places_of(data.class_names, known, request.classes or {}, name)
    data.take_targets(known, places)
    if missing := [each for place, each in enumerate(known) if place not in places]:
        log.warning(
            "%s has no class %s: metrics are of the images there are, f1 is the mean over the classes that have images "
            "or are predicted.",
            name,
            listed(missing),
        )


def _to_evaluate(job: Job, request: EvaluationRequest) -> Job:
    """Return the job on one device of this machine, with this machine's paths, watched by nobody."""
    data = job.data
    if request.data is not None:
        data = _of_the_runs_shape(request.data, job, request)
    elsewhere = {str(job.paths.data_dir): request.paths.data_dir, str(job.paths.cache_dir): request.paths.cache_dir}
    reader = {
        key: str(elsewhere.get(value, value)) if isinstance(value, str) else value
        for key, value in data.reader.model_dump(by_alias=True).items()
    }
    # The run may be a stranger's: nothing is written where it says. Downloads go below a root, but that of a folder.
    if "cache_dir" in reader:
        reader["cache_dir"] = str(request.paths.cache_dir)
    if "root" in reader and data.reader.target in DOWNLOADED:
        reader["root"] = str(request.paths.data_dir)
    here = {"accelerator": request.accelerator or job.trainer.accelerator, "devices": 1, "num_nodes": 1}
    return job.model_copy(
        update={
            "data": data.model_copy(update={"reader": Target.model_validate(reader)}),
            "trainer": job.trainer.model_copy(update={**here, "strategy": "auto", "progress": False, "profiler": None}),
            "allow": request.allow,
            "metrics": {**job.metrics, **request.metrics},
            "callbacks": {},
            "logger": {},
        }
    )


def _of_the_runs_shape(data: Data, job: Job, request: EvaluationRequest) -> Data:
    """Return other data with what one input is. Raises UserError for inputs unlike those that the run takes."""
    own = job.data.input_shape
    assert own is not None, "a run's config says it"
    if data.stated is not None and len(own) == 3:
        data = data.model_copy(update={"channels": own[0]})
    else:
        digest = contents_of_data(data, request.paths, request.allow).digest
        data = with_shape(data.model_copy(update={"digest": digest}), request.paths, request.allow)
    if (given := data.input_shape) != own or bool(data.floats) != bool(job.data.floats):
        kinds = [" of floats" if each else "" for each in (job.data.floats, data.floats)]
        raise UserError(
            f"The run takes {of_shape(own)}{kinds[0]}, but {data.name} gives {of_shape(given or ())}{kinds[1]}: set "
            "data.pad or data.image_size to fit."
        )
    return data
