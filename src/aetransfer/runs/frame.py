"""The store of runs as a pandas DataFrame, for notebooks."""

from pathlib import Path
from typing import TYPE_CHECKING

from aetransfer.config.nodes import at_home
from aetransfer.errors import UserError
from aetransfer.runs.filters import chosen
from aetransfer.runs.pages import row_of
from aetransfer.runs.store import default_output_dir, runs_in

if TYPE_CHECKING:
    from pandas import DataFrame


def runs_frame(output_dir: str | Path | None = None, *filters: str) -> "DataFrame":
    """Return a row for each run: name, identity, status, config, metrics, counts, timing, as `runs export` writes them.

    output_dir: that of the runs, by default AETRANSFER_OUTPUT_DIR or outputs. filters: as `runs list` takes them
    ("stage=transfer", "data=cifar10,mnist"), all of which must hold. Raises UserError without pandas, or for a filter
    on a key that no run has.
    """
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise UserError("runs_frame needs pandas: pip install 'aetransfer[notebook]'.") from error
    directory = at_home(output_dir) if output_dir else default_output_dir()
    return DataFrame([row_of(run) for run in chosen(runs_in(directory), list(filters))])
