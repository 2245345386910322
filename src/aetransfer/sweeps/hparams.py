"""A sweep's runs in TensorBoard's HPARAMS tab: what was varied, and the final test metrics."""

import shutil
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from aetransfer.sweeps.content import Content
from aetransfer.sweeps.grouping import label


def write_hparams(content: Content, folder: Path) -> None:
    """Write an event file for each run below `folder`, in place of those that are there."""
    shutil.rmtree(folder, ignore_errors=True)
    for section in content.sections:
        for group in section.groups:
            # TensorBoard sorts and filters numbers as numbers.
            setting = {
                key: value if isinstance(value, int | float) else label(key, group.setting)
                for key, value in group.setting.items()
            }
            for run in group.runs:
                # SummaryWriter.add_hparams would open a second event file.
                with SummaryWriter(str(folder / run.name)) as writer:
                    for summary in hparams({**setting, "seed": run.seed}, run.tested):
                        writer.file_writer.add_summary(summary)
                    for name, value in run.tested.items():
                        writer.add_scalar(name, value)
