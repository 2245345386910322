"""Finished runs in TensorBoard's HParams tab: what was varied, the metric that chose each epoch, and its test metrics.

Written into the run's own directory, so that each run is one entry. No list of columns is written: TensorBoard takes
the first list that it finds for all sweeps, and without one it shows each key of any run, those that differ first.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from aetransfer.report.grouping import CHOICES, label, settings_of, varied
from aetransfer.store.run import StoredRun
from aetransfer.sweeps.jobs import names_of_runs

Setting = dict[str, bool | float | str]
EVENTS = "events.out.tfevents."

SUFFIX = ".hparams"
# TensorBoard sorts metrics by name, and ticks the first five: this one comes before test/.
CHOSEN_BY = "best/"
# Of keys, too.
CALLED = {"transfer": "arm"}


def write_hparams(runs: Sequence[StoredRun], sweep: Path) -> None:
    """Write an event file into each of a sweep's finished runs, in place of an earlier one, whose keys are kept.

    Beside what the sweep varied it says what sweeps differ in: the choices of data, models and arm.
    """
    # Where earlier versions wrote a second entry for each run, and a list of columns.
    shutil.rmtree(sweep / "hparams", ignore_errors=True)
    names = names_of_runs(sweep)
    for run, setting in settings(runs, always=tuple(CHOICES.values())):
        earlier = list(run.directory.path.glob(f"{EVENTS}*{SUFFIX}"))
        for path in earlier:
            setting = _setting_in(path) | setting
        write_session(run.directory.path, run, names.get(run.name, run.name), setting)
        for path in earlier:
            path.unlink()


def settings(runs: Sequence[StoredRun], always: Sequence[str] = ()) -> Iterator[tuple[StoredRun, Setting]]:
    """Yield each run with what varies among the runs of its stage, its seed and fold, and the keys in `always`."""
    for stage in ("pretrain", "transfer"):
        those = [run for run in runs if run.stage == stage]
        columns = varied(settings_of(those))
        for run, settled in zip(those, settings_of(those), strict=True):
            keys = [key for key in dict.fromkeys((*always, *columns)) if settled.get(key) is not None or key in columns]
            # TensorBoard sorts and filters numbers as numbers.
            setting: Setting = {
                CALLED.get(key, key): settled[key] if isinstance(settled[key], int | float) else label(key, settled)
                for key in keys
                if key in settled
            }
            yield run, setting | {"seed": run.seed, **({} if run.fold is None else {"fold": run.fold})}


def write_session(folder: Path, run: StoredRun, name: str, setting: Setting) -> None:
    """Write an event file that makes the run in `folder` a row of the tab, called by its name."""
    monitor = str(run.model.monitor)
    shown = {f"{CHOSEN_BY}{monitor}": run.facts.metrics.get(monitor)} | run.tested
    writer = EventFileWriter(str(folder), filename_suffix=SUFFIX)
    for summary in (
        # Rows of one name would be one row: a name may come again in another sweep.
        hparams_pb(setting, trial_id=f"{name} {run.result['identity'][:6]}"),
        _ended(),
        Summary(
            value=[Summary.Value(tag=tag, simple_value=value) for tag, value in shown.items() if value is not None]
        ),
    ):
        step = int(run.counts.get("steps", 0))
        writer.add_event(Event(summary=summary, wall_time=time.time(), step=step))
    writer.close()


def _setting_in(path: Path) -> Setting:
    """Return the keys that a file of `_write` has."""
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            if value.tag == metadata.SESSION_START_INFO_TAG:
                start = metadata.parse_session_start_info_plugin_data(value.metadata.plugin_data.content)
                return {key: getattr(each, each.WhichOneof("kind")) for key, each in start.hparams.items()}
    return {}


def _ended() -> Summary:
    status = api_pb2.Status.Value("STATUS_SUCCESS")
    end = plugin_data_pb2.HParamsPluginData(session_end_info=plugin_data_pb2.SessionEndInfo(status=status))
    tag = metadata.SESSION_END_INFO_TAG
    summary = metadata.create_summary_metadata(end)
    return Summary(value=[Summary.Value(tag=tag, metadata=summary, tensor=metadata.NULL_TENSOR)])
