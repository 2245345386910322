"""A sweep's runs in TensorBoard's HPARAMS tab: what was varied, and the final test metrics.

Written through TensorBoard alone: torch has a writer of the same files, and takes seconds to import.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

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
                _write_run(
                    folder / run.name,
                    {**setting, "seed": run.seed, **({} if run.fold is None else {"fold": run.fold})},
                    run.tested,
                )


def _write_run(folder: Path, setting: Mapping[str, float | str], metrics: Mapping[str, float]) -> None:
    writer = EventFileWriter(str(folder))
    for summary in (
        hparams_config_pb([HParam(key) for key in setting], [Metric(name) for name in metrics]),
        hparams_pb(setting, trial_id=folder.name),
        _ended(),
        Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]),
    ):
        writer.add_event(Event(summary=summary, wall_time=time.time(), step=0))
    writer.close()


def _ended() -> Summary:
    status = api_pb2.Status.Value("STATUS_SUCCESS")
    end = plugin_data_pb2.HParamsPluginData(session_end_info=plugin_data_pb2.SessionEndInfo(status=status))
    tag = metadata.SESSION_END_INFO_TAG
    summary = metadata.create_summary_metadata(end)
    return Summary(value=[Summary.Value(tag=tag, metadata=summary, tensor=metadata.NULL_TENSOR)])
