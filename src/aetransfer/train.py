"""Train an encoder without labels, or use a pretrained encoder for a task.

A training without labels is a pretraining, a training for a task is a transfer.
Either is one run. With -m, one command starts several runs.

Usage: python -m aetransfer.train [-m] [KEY=VALUE ...]

Examples:
  python -m aetransfer.train experiment=quickstart transfer=finetune
  python -m aetransfer.train experiment=quickstart optimizer.lr=3e-4 seed=1
  python -m aetransfer.train -m experiment=quickstart transfer=scratch,finetune
      seed=0,1,2 launcher=joblib

Often set:
  data.labels_per_class=10   train on 10 labelled examples of each class
  data.batch_size=64         examples in one step
  encoder.latent_dim=64      size of the code that the encoder gives
  optimizer.lr=1e-3          learning rate
  pretrain.optimizer.lr=.01  that of the pretraining: pretrain. before a key
                             sets it for the pretraining
  trainer.max_epochs=50      length of training; or trainer.max_steps=1000
  trainer.devices=2          devices to train on, with one process for each
  paths.output_dir=DIR       folder for runs and sweeps

Options:
  -m           a sweep: several values, such as seed=0,1,2, give one run each
  --identity   print the name, status and directory of each run; train nothing
"""

import sys
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.compose import checked
from aetransfer.config.nodes import chosen
from aetransfer.config.schema import EvaluationRequest, Job, Pretraining
from aetransfer.errors import UserError
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import Run, finished_run
from aetransfer.store.identity import config_digest, identified, identity, run_name
from aetransfer.store.run import read
from aetransfer.training import logs
from aetransfer.transfer.resolve import check_found, pretraining_of, resolve


def main() -> None:
    command_line.main(command())


def command(doc: str = __doc__) -> command_line.Command:
    return command_line.Command(
        "train", doc, check=resolved, task=_train, trial=_trial, describe=_describe, prepare=_look_at_data
    )


def resolved(config: DictConfig, overrides: list[str]) -> Job:
    return resolve(checked(config, Job), overrides)


def _found(job: Job, *, fetch: bool = True) -> Job:
    """Return a resolved job with what its data say, which is checked. Raises UserError."""
    job = identified(job, fetch=fetch)
    check_found(job)
    return job


def _look_at_data(job: Job) -> None:
    """Take the checksums of a sweep's data once, so that jobs which begin together need not all read them."""
    # Where they are not there, each job fetches them or says so.
    with suppress(UserError):
        identified(job, fetch=False)


def _describe(config: DictConfig, overrides: list[str]) -> None:
    """Print which run a config means and how far it is, without one being made."""
    job = resolved(config, overrides)
    described = [("run", job)]
    if job.transfer is not None and job.transfer.carries and isinstance(job.pretrain, Pretraining):
        described.append(("pretraining", pretraining_of(job)))
    for role, each in described:
        try:
            each = _found(each, fetch=False)
        except UserError as error:
            digest = config_digest(each)
            print(f"{role}: {digest}-? open {each.paths.output_dir / 'runs' / run_name(each, f'{digest}-*')}")
            print(f"What stands for ? is the digest of the data: {error}", file=sys.stderr)
            continue
        directory = RunDirectory.of(each)
        status = read(directory.path).status if directory.path.is_dir() else "none"
        print(f"{role}: {identity(each)} {status} {directory.path}")


def _train(config: DictConfig, overrides: list[str]) -> Path:
    return _done(_found(resolved(config, overrides)), overrides)


def _trial(config: DictConfig, overrides: list[str]) -> Path:
    job = _found(resolved(config, overrides))
    return _done(job.model_copy(update={"test": "left_out"}), overrides)


def _done(job: Job, overrides: list[str]) -> Path:
    done = finished_run(job)
    if done is None:
        # torch takes seconds to import, and neither a config error nor a finished run must.
        logs.say_torch()
        from aetransfer.training.stages import run

        done = run(job, overrides)
    width = max([20, *(len(name) + 1 for name in done.result["metrics"])])
    for name, value in done.result["metrics"].items():
        # The test split has no say in a search, though an earlier command may have measured it.
        if not (job.test == "left_out" and name.startswith("test/")):
            print(f"{name:<{width}}{value:.6g}")
    if chosen(job.evaluation) and job.test != "left_out":
        _measure(job, done)
    if done.directory.page.is_file():
        print(f"page: {done.directory.page}")
    print(f"run: {done.directory.path}")
    return done.directory.path


def _measure(job: Job, done: Run) -> None:
    """Take the measures that the command asks for, of a run that was there already too."""
    from aetransfer.evaluation.evaluate import measure

    # Without a test split there is validation left, and what is measured says so.
    split = "test" if done.result["counts"]["test"] else "val"
    request = EvaluationRequest(
        run=str(done.directory.path), split=split, evaluation=job.evaluation, paths=job.paths, allow=job.allow
    )
    measure(request)


if __name__ == "__main__":
    # Another process must find the functions that it is sent.
    from aetransfer import train

    train.main()
