"""Find the largest batch that fits in memory. It takes the same words as train.

Usage: python -m aetransfer.batch_size [KEY=VALUE ...]

Examples:
  python -m aetransfer.batch_size experiment=quickstart
  python -m aetransfer.batch_size model=vae data=mnist
  python -m aetransfer.batch_size trainer=gpu encoder.latent_dim=512

It only prints the size. To use it, set data.batch_size yourself: the batch size
changes results, so it must not depend on the machine.
"""

import sys
import tempfile
from pathlib import Path

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.compose import checked
from aetransfer.config.schema import Job
from aetransfer.errors import UserError
from aetransfer.training import logs
from aetransfer.transfer.resolve import resolve

LARGEST = 8192


def main() -> None:
    if {"-m", "--multirun"} & set(sys.argv):
        sys.exit("error: batch_size takes one job, not a sweep (-m).")
    command_line.main(command_line.Command("train", __doc__, check=_job, task=_find, goes_on=False))


def _job(config: DictConfig, overrides: list[str]) -> Job:
    return resolve(checked(config, Job), overrides)


def _find(config: DictConfig, overrides: list[str]) -> None:
    """Try three steps of ever larger batches, each twice the last, and print the largest that fits.

    Lightning's tuner does it: nothing is kept, and no run is made.
    """
    job = _job(config, overrides)
    # torch takes seconds to import, and a config error must not.
    logs.say_torch()
    from pytorch_lightning import seed_everything
    from pytorch_lightning.tuner.tuning import Tuner

    from aetransfer.data.own_batches import OwnDataModule
    from aetransfer.store.directory import RunDirectory
    from aetransfer.training.build import make_data, make_encoder, make_model, make_trainer, outputs_of

    logs.quiet_lightning()
    seed_everything(job.seed, verbose=False)
    unwatched = job.trainer.model_copy(
        update={"progress": False, "max_epochs": 1, "max_steps": None, "val_check_interval": None}
    )
    job = job.model_copy(update={"callbacks": {}, "logger": {}, "trainer": unwatched})
    data = make_data(job.data, job.seed, job.allow, job.stage)
    if isinstance(data, OwnDataModule):
        raise UserError(f"{job.data.name} makes its own batches, which can't be made larger from here.")
    data.setup("fit")
    model = make_model(job, make_encoder(job), outputs_of(job, data.targets))
    most = min(LARGEST, data.count("train"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(job, RunDirectory(Path(folder)), model)
        found = Tuner(trainer).scale_batch_size(model, datamodule=data, max_val=most)
    assert found is not None
    print(f"The largest batch that fits, of those tried by doubling: data.batch_size={min(found, most)}")


if __name__ == "__main__":
    main()
