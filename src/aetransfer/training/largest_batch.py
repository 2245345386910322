"""Which batches memory suffices for, tried out by Lightning's tuner. Nothing is kept, and no run is made."""

import tempfile
from pathlib import Path

from pytorch_lightning import seed_everything
from pytorch_lightning.tuner.tuning import Tuner

from aetransfer.config.schema import Job
from aetransfer.data.own_batches import OwnDataModule
from aetransfer.errors import UserError
from aetransfer.store.directory import RunDirectory
from aetransfer.training import logs
from aetransfer.training.build import make_data, make_encoder, make_model, make_trainer, outputs_of
from aetransfer.training.callbacks.progress import Throughput


def largest_batch(job: Job, most: int) -> int:
    """Try three steps of ever larger batches, each twice the last; return the largest that fits, in images.

    It is no larger than `most`, nor than the training images are many.
    """
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
    most = min(most, data.count("train"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(job, RunDirectory(Path(folder)), model, Throughput())
        found = Tuner(trainer).scale_batch_size(model, datamodule=data, max_val=most)
    assert found is not None
    return min(found, most)
