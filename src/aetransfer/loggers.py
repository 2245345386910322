"""Metrics as CSV of a run that may be cut off: Lightning's own logger begins by deleting what was logged before."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from aetransfer.runs.files import replace_file


class ContinuedCSVLogger(CSVLogger):
    """Lightning's, with metrics.csv going on where a run goes on; steps that are done again take their rows back."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        if self._experiment is None:
            self._experiment = _ContinuedWriter(self.log_dir)
        assert isinstance(self._experiment, ExperimentWriter)
        return self._experiment


class _ContinuedWriter(ExperimentWriter):
    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._continued = False

    def _check_log_dir_exists(self) -> None:
        """Leave what is there, where Lightning's removes it."""

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        if not self._continued and step is not None:
            self._take_back(step)
        self._continued = True
        super().log_metrics(metrics_dict, step)

    def _take_back(self, step: int) -> None:
        path = Path(self.metrics_file_path)
        if not path.exists():
            return
        # A process that was killed may have left half a line.
        whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        reader = csv.DictReader(whole)
        kept = [row for row in reader if int(row["step"]) < step]
        self.metrics_keys = list(reader.fieldnames or ())
        text = StringIO()
        writer = csv.DictWriter(text, self.metrics_keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        replace_file(path, text.getvalue())
