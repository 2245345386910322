"""How a multirun ends: its table, its report, its runs in TensorBoard, and what failed."""

import shutil
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from rich.table import Table
from rich.text import Text
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from aetransfer.printable import console, printable
from aetransfer.report.collect import collect_sweep
from aetransfer.report.files import write_report
from aetransfer.report.grouping import label
from aetransfer.report.statistics import NOTHING
from aetransfer.report.sweep import Content, content_of
from aetransfer.report.tables import TextTable

# A report on the terminal: the page's table of results, and what each comparison came to.

# More would push the table out of sight; the page has them all.
MOST_VERDICTS = 12


def print_report(content: Content) -> None:
    out = console()
    for section in content.sections:
        out.print(_table(section.results))
        out.print(section.spread)
        if section.comparisons and len(section.comparisons.rows) <= MOST_VERDICTS:
            named = section.comparisons.texts
            for row in section.comparisons.rows:
                *setting, arms, verdict = row[:named]
                difference = [cell for cell in row[named : named + 2] if cell != NOTHING]
                line = f"{' '.join([*setting, arms])}: {' '.join([*difference, verdict])}"
                out.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    if content.left_out:
        out.print(content.left_out, highlight=False, soft_wrap=True)


def _table(results: TextTable) -> Table:
    table = Table()
    for place, heading in enumerate(results.header):
        table.add_column(Text(printable(heading)), justify="left" if place < results.texts else "right")
    for row in results.rows:
        # Text, so that brackets in a name are no markup.
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


# A sweep's runs in TensorBoard's HPARAMS tab: what was varied, and the final test metrics.
#
# Written through TensorBoard alone: torch has a writer of the same files, and takes seconds to import.


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


def conclude(sweep: Path) -> None:
    """Print and write what a sweep came to. The last lines name the jobs that failed, and the sweep."""
    content = content_of(collect_sweep(sweep))
    print_report(content)
    write_hparams(content, sweep / "hparams")
    print(f"report: {write_report(content, sweep / 'report', date.today())}")
    for run in content.unfinished:
        print(run)
    print(f"sweep: {sweep}")
