"""The two stages, as one story: find or make the pretraining a transfer declares, train, test, write it down.

`_run` finds out whether there is anything to do (identity, lock, resume), `_recorded` sees to it that a failed or
preempted job says so and can go on, `execute` trains.
"""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer, seed_everything

from aetransfer import signals
from aetransfer.config.schema import GivenEncoder, Job, Pretraining
from aetransfer.data.module import DataModule, Part
from aetransfer.data.reading import UNSTATED
from aetransfer.errors import UserError
from aetransfer.files import WriteError, read_json, remove_partial_files
from aetransfer.models.base import Model, Task
from aetransfer.models.facts import ModelFacts
from aetransfer.models.length import LengthError, NoTraining, check_length, epochs_planned, epochs_trained
from aetransfer.report.run import leave_page
from aetransfer.store.directory import ContinuationError, RunDirectory, check_best, to_resume_from
from aetransfer.store.finished import UNTESTED, Run, check_continued, finished_run, is_finished, is_left_to_test
from aetransfer.store.lock import RunLock
from aetransfer.store.record import Record, check_data, check_unchanged, note_data, say_other_data
from aetransfer.training import errors, logs, processes
from aetransfer.training.build import (
    architecture_of,
    initial_model,
    make_data,
    make_encoder,
    make_model,
    make_trainer,
    outputs_of,
)
from aetransfer.training.callbacks.health import check_chosen
from aetransfer.training.callbacks.progress import Throughput
from aetransfer.training.launched import check_processes, launched
from aetransfer.training.strategy import Worker, check_smallest_batch, is_sharded
from aetransfer.transfer.card import write_cards
from aetransfer.transfer.exported import Preprocessing, read_state, write_encoder
from aetransfer.transfer.resolve import pretraining_of, sees_the_same

log = logging.getLogger(__name__)


def run(job: Job, overrides: list[str]) -> Run:
    """Do a resolved job, and before it the pretraining it carries, unless another job does so meanwhile.

    Raises KeyboardInterrupt where a signal asked for a stop, once the run is left so that it can go on.
    """
    logs.quiet_lightning()
    with signals.heeded():
        check_processes(job)
        with processes.leading(launched(job.trainer.num_nodes)):
            return _run(job, overrides)


def _run(job: Job, overrides: list[str]) -> Run:
    """Return the run, finished before or now. Its lock sees to it that one job at a time does it."""
    directory = RunDirectory.of(job)
    source = _source(job, overrides)
    try:
        directory.locks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"paths.output_dir={job.paths.output_dir} can't be written ({error.strerror}).") from error
    with RunLock(directory.locks).held() as lock:
        left_to_test = is_left_to_test(directory, job)
        # Another job may have finished it while this one waited.
        if (done := finished_run(job)) is not None:
            return done
        if left_to_test:
            job = job.model_copy(update={"test": "alone"})
            log.info("%s is finished, and a search has left it untested: it is tested now.", directory.path.name)
        elif is_finished(directory):
            log.info("The run that was there is now %s.", directory.move_aside().name)
        check_continued(directory, job)
        if not directory.path.is_dir():
            say_other_data(directory, job)
        with errors.said(directory.path):
            try:
                return _recorded(job, directory, source, overrides, lock)
            except ContinuationError as error:
                if not job.rerun:
                    raise
                log.warning("%s It is now %s.", error, directory.move_aside().name)
                return _recorded(job, directory, source, overrides, lock)


def _source(job: Job, overrides: list[str]) -> str | None:
    """Return what a job starts from, None for nothing. A declared pretraining that is not done yet is done now."""
    if job.transfer is not None and not job.transfer.carries:
        return None
    if isinstance(job.pretrain, GivenEncoder):
        return job.pretrain.path
    if job.transfer is None:
        return None
    pretraining = pretraining_of(job)
    done = finished_run(pretraining)
    if done is None:
        _rehearse(job)
        try:
            done = _run(pretraining, overrides)
        except LengthError as error:
            raise error.of_pretraining() from error
    elif job.rerun and not pretraining.rerun:
        log.info("rerun=true is for the transfer alone: add pretrain.rerun=true to do the pretraining afresh too.")
    return str(done.directory.path)


def _rehearse(job: Job) -> None:
    """Build all that a transfer needs, so that what is wrong with it is said before its pretraining takes hours."""
    data = make_data(job.data, job.seed, job.allow, job.stage)
    data.setup("fit")
    model, _ = initial_model(job, data, None)
    _check_training(job, model, data, processes=1)
    make_trainer(job, RunDirectory.of(job), model)


def _recorded(job: Job, directory: RunDirectory, source: str | None, overrides: list[str], lock: RunLock) -> Run:
    """Execute a job while result.json says how far it is, and at its end that it is finished, failed or interrupted."""
    directory.path.mkdir(exist_ok=True)
    remove_partial_files(directory.path)
    directory.write_config(job)
    with logs.to_file(directory.log), errors.writers_report_here():
        throughput = Throughput()
        trained = directory.result() if job.test == "alone" else None
        record = Record(directory, job, source, overrides, throughput.progress)
        if trained is not None:
            record.keep_training_of(trained)
        lock.beats.append(record.beat)
        try:
            with processes.called(job, directory, source, partial(_end, record)) as worker:
                facts = execute(job, directory, source, worker, throughput, record)
        except (signals.Stopped, KeyboardInterrupt, SystemExit) as stop:
            if lock.lost:
                raise UserError(
                    f"{directory.path.name} was taken over by another job, because nothing was heard of this one, or "
                    f"what says who does it was removed from {directory.locks}."
                ) from stop
            with signals.deferred():
                record.give_up("interrupted", trained)
                leave_page(directory)
            if isinstance(stop, SystemExit):
                # Lightning turns a KeyboardInterrupt into an exit; who runs a whole sweep must still learn what it was.
                raise KeyboardInterrupt from stop
            raise
        except Exception as error:
            sentence = errors.explained(error, directory.path)
            # On a disk that is full or gone the record can't be closed either; the run counts as interrupted then.
            with suppress(WriteError), signals.deferred():
                why = str(sentence) if sentence else f"{type(error).__name__}: {error}"
                record.give_up("failed", trained, error=why)
                leave_page(directory)
            raise
        if trained is not None:
            facts = {**facts, "counts": facts["counts"] | trained["counts"], "timing": {}}
        with signals.deferred():
            run = Run(directory, record.close("finished", **facts))
            leave_page(directory)
        return run


def _end(record: Record, why: str) -> None:
    """Say what ends this process, of which nothing else will: it waits for others that are gone."""
    record.close("failed", error=why)
    print(f"error: {why}", file=sys.stderr, flush=True)


def execute(
    job: Job,
    directory: RunDirectory,
    source: str | None,
    worker: Worker,
    throughput: Throughput | None = None,
    record: Record | None = None,
) -> dict[str, Any]:
    """Train, then test the best epoch, of which `job.test` may leave one out. Each of a run's processes does this; the
    first one exports the encoder.

    source: run directory, checkpoint or exported encoder that is carried; None for a control, or a pretraining that
    continues none.
    throughput: the one that others ask how far training is. record: what the first process writes down meanwhile.
    Returns `metrics`, `counts`, `data` and `timing` for result.json; without a test split there are no test metrics.
    Raises UserError for data, hardware or an encoder that don't fit.
    """
    logs.quiet_lightning()
    seed_everything(job.seed, verbose=False)
    # Data: the training and the validation split; the test split is opened by the test.
    data = make_data(job.data, job.seed, job.allow, job.stage)
    data.check_processes(worker.size)
    data.setup("fit")
    if source is not None:
        _check_held_out(job, data, source)
    # Asking for the times of 60,000 files takes a second, which the processor has for other things.
    unchanged = ThreadPoolExecutor(1).submit(check_unchanged, directory, job) if worker.rank == 0 else None
    # Model: what learns, with the weights that it starts from and the layers that the arm freezes.
    model, origin = initial_model(job, data, source)
    if record is not None:
        record.describe(model.facts(job.model.name))
    _check_training(job, model, data, worker.size)
    throughput = throughput or Throughput()
    trainer = make_trainer(job, directory, model, throughput, worker)
    _log_length(job, directory, data, worker.size)

    # Resume: a run that was cut off or preempted goes on from its last checkpoint, on the data that it was started on.
    resumed = to_resume_from(directory)
    if unchanged is not None:
        unchanged.result()
        (check_data if resumed else note_data)(directory, job, data.training_split)
    if resumed:
        log.info("Resuming from %s", resumed)
    if job.test == "alone":
        trainer.callbacks.append(NoTraining())  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
    with worker.joined(trainer):
        # The loop is Lightning's. `Model.training_step` is what it does with a batch, and `step` of each model its
        # loss; `make_trainer` adds what is done beside it, and `Model.choose_by` chooses the best epoch.
        with signals.deferred():
            trainer.fit(model, datamodule=data, ckpt_path=resumed, weights_only=True)
        if signals.asked() is not None:
            raise signals.Stopped(signals.name())
        epochs, steps = epochs_trained(trainer), trainer.global_step
        left_out = job.test == "left_out" and data.has_test
        metrics, about = _measure_best(job, directory, data, model, trainer, tests=data.has_test and not left_out)
        counts = _counts(data, model, ("train", "val") if left_out else ("train", "val", "test"))
        facts: dict[str, Any] = {
            "metrics": metrics,
            "counts": counts | {"epochs": epochs, "steps": steps, "processes": worker.size},
            "data": data.account(),
            "model": about.model_dump(),
            **origin,
            "timing": {
                "train_seconds": round(throughput.seconds, 3),
                "images_per_second": round(throughput.images_per_second, 1),
            },
            **({UNTESTED: True} if left_out else {}),
        }
        if trainer.is_global_zero:
            encoder = make_encoder(job)
            # As it was trained, in whatever precision.
            encoder.load_state_dict(read_state(str(directory.best)), assign=True)
            seen = Preprocessing(job.data.pad, data.reading or UNSTATED)
            write_encoder(directory.encoder, encoder, architecture_of(job), seen, model.untrained)
            write_cards(directory, job, encoder, about, facts, data.targets, seen)
            directory.previous.unlink(missing_ok=True)
        trainer.strategy.barrier()
    return facts


def _check_training(job: Job, model: Model, data: DataModule, processes: int) -> None:
    """Raise UserError for what would go wrong only after a while."""
    batches = data.batches("train")
    check_length(job.trainer, batches)
    if isinstance(model, Task):
        model.check_arm(epochs_planned(job.trainer, batches))
    check_smallest_batch(job, model, data, processes)


def _log_length(job: Job, directory: RunDirectory, data: DataModule, processes: int) -> None:
    steps, count = job.trainer.max_steps, data.count("train")
    length = f"{steps} steps" if steps is not None else f"{job.trainer.max_epochs} epochs"
    log.info("%s: %d %s, %s", directory.path.name, count, data.noun, length)
    together = f"{processes} process{'es' if processes > 1 else ''}"
    each, size = job.data.epoch_images or count, job.data.batch_size
    log.info("%d %s an epoch in batches of %d over %s", each, data.noun, size, together)


def _measure_best(
    job: Job, directory: RunDirectory, data: DataModule, model: Model, trainer: Trainer, tests: bool
) -> tuple[dict[str, float], ModelFacts]:
    """Validate the best epoch once more, which is what its encoder is exported with, and test it.

    Returns the metrics of both, and what the model says of itself now that it is known what a split lacks.
    """
    steps = trainer.global_step
    loggers, trainer.loggers = trainer.loggers, []  # the best epoch's validation is on the curve already
    metrics: dict[str, float] = {}
    about = model.facts(job.model.name)
    check_best(directory)
    check_chosen(trainer)
    for evaluation in (trainer.validate, trainer.test) if tests else (trainer.validate,):
        if is_sharded(trainer):
            # What was sharded once can't be sharded again.
            model = make_model(job, make_encoder(job), outputs_of(job, data.targets))
            if isinstance(model, Task):
                model.names = data.targets.names
        evaluation(model, datamodule=data, ckpt_path=directory.best, weights_only=True, verbose=False)
        metrics |= metrics_of(trainer.callback_metrics)
        about = model.facts(job.model.name)
    tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
    for logger in loggers:
        if tested:
            logger.log_metrics(tested, steps)
        logger.finalize("success")
    return metrics, about


def metrics_of(logged: dict[str, Any]) -> dict[str, float]:
    """Pick what an evaluation measured out of what Lightning has logged."""
    return {name: value.item() for name, value in logged.items() if name.startswith(("val/", "test/"))}


def _counts(data: DataModule, model: Model, parts: tuple[Part, ...]) -> dict[str, float]:
    parameters = list(model.parameters())
    return {
        **{part: data.count(part) for part in parts},
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }


def _check_held_out(job: Job, data: DataModule, source: str) -> None:
    """Raise UserError where the pretraining has seen what this transfer is tested on."""
    declared = job.pretrain.data if isinstance(job.pretrain, Pretraining) else None
    if data.held_out is None or declared is None or not sees_the_same(job.data, declared):
        return
    if read_json(RunDirectory(Path(source)).result_path)["data"].get("held_out") != data.held_out:
        raise UserError(
            f"{job.data.name} is tested on {data.tested_on}, but pretrain.data left out others, and the pretraining "
            "has seen some of these: give both the same groups, and classes or none."
        )


if __name__ == "__main__":
    # One further process of a run, started by the first one and never by hand.
    sys.exit(processes.follow_as_started(execute))
