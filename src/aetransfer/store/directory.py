"""What a run leaves behind, where, and which of its checkpoints can be trusted.

Files are written beside their place and renamed into it.
"""

import json
import logging
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from aetransfer.config.other_names import todays_config
from aetransfer.config.schema import Job
from aetransfer.errors import UserError
from aetransfer.files import read_json, read_yaml, replace_file
from aetransfer.printable import without_secrets
from aetransfer.store.identity import run_name

log = logging.getLogger(__name__)


class _Inside:
    """A file or folder of a run, by its name there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, directory: "RunDirectory", owner: type) -> Path:
        return directory.path / self.name


@dataclass(frozen=True)
class RunDirectory:
    path: Path

    config = _Inside("config.yaml")
    log = _Inside("train.log")
    data = _Inside("data.json")
    history = _Inside("history.json")
    checkpoints = _Inside("checkpoints")
    best = _Inside("checkpoints/best.ckpt")
    last = _Inside("checkpoints/last.ckpt")
    # The last but one, for when the last is damaged. A finished run has none.
    previous = _Inside("checkpoints/previous.ckpt")
    result_path = _Inside("result.json")
    encoder = _Inside("encoder.safetensors")
    encoder_card = _Inside("encoder.json")
    model_card = _Inside("MODEL_CARD.md")
    page = _Inside("report.html")
    # What measures found, a JSON file each with its pictures. A run that none was taken of has none.
    evaluation = _Inside("evaluation")

    @classmethod
    def of(cls, job: Job) -> "RunDirectory":
        """Return the directory that a resolved job's identity names, which need not exist yet."""
        return cls(job.paths.output_dir / "runs" / run_name(job))

    @classmethod
    def existing(cls, path: str | Path) -> "RunDirectory":
        """Return the run at `path`. Raises UserError where there is none."""
        directory = cls(Path(path).expanduser())
        if not directory.config.is_file():
            raise UserError(f"{path} is no run directory: it has no config.yaml.")
        return directory

    @property
    def is_superseded(self) -> bool:
        """Tell whether this is what `move_aside` kept of a run that was done afresh."""
        return "~" in self.path.name

    @property
    def locks(self) -> Path:
        return self.path.parent / ".locks" / self.path.name

    def result(self) -> dict[str, Any] | None:
        """Return result.json, or None where there is none. Raises UserError for one that isn't JSON."""
        if not self.result_path.is_file():
            return None
        try:
            content = read_json(self.result_path)
            if not isinstance(content, dict) or not isinstance(content.get("status"), str):
                raise ValueError("it does not say the run's status")
        except (OSError, ValueError) as error:
            raise UserError(f"{self.result_path} is damaged ({error}): remove {self.path} and run again.") from error
        return content

    def move_aside(self) -> Path:
        """Rename the run to the first free of `<name>~1`, `<name>~2`, ... and return where it is now."""
        number = 1
        while (kept := self.path.with_name(f"{self.path.name}~{number}")).exists():
            number += 1
        return self.path.rename(kept)

    def write_result(self, result: dict[str, Any]) -> None:
        replace_file(self.result_path, json.dumps(without_secrets(result), indent=2) + "\n")

    @staticmethod
    def as_written(job: Job) -> dict[str, Any]:
        """Return what config.yaml says of a job, as plain data."""
        # What may be called is the command line's to say, each time anew.
        return without_secrets(job.model_dump(mode="json", by_alias=True, exclude={"allow", "test"}))

    def write_config(self, job: Job) -> None:
        replace_file(self.config, yaml.safe_dump(self.as_written(job), sort_keys=False))

    def read_config(self) -> Job:
        """Return the job this run was made from, with nothing allowed. Raises UserError where it can't be read."""
        try:
            job = Job.model_validate(todays_config(read_yaml(self.config)))
        except (OSError, ValueError) as error:
            # Sentences need Hydra, which takes a while to import, and most configs are sound.
            from aetransfer.config.sentences import sentence

            reason = sentence(error, "train") if isinstance(error, ValidationError) else f"{error}."
            raise UserError(f"{self.config} is not the config of a run: {reason}") from error
        return job.model_copy(update={"allow": []})


# Which of a run's checkpoints can be trusted. A checkpoint is a zip archive, and each of its parts has a CRC-32 there.
#
# PyTorch writes these sums and does not look at them when it loads: flipped bits would be trained on.


class ContinuationError(UserError):
    """What a run has left can't be continued; rerun=true keeps it aside and begins afresh."""


def damage(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint's bytes, None where all of its parts have their sums and torch can read it.

    A file that holds more than weights is not damaged: whoever loads it refuses it.
    """
    import torch

    try:
        with zipfile.ZipFile(checkpoint) as archive:
            broken = archive.testzip()
        if broken is None:
            # Some bits of the archive's own only torch minds.
            torch.load(checkpoint, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return None
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        return f"{error}".strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return f"the checksum of {broken} is not that of its bytes" if broken else None


def to_resume_from(directory: RunDirectory) -> Path | None:
    """Return the newest whole checkpoint, None where there is none. Raises ContinuationError where all are damaged."""
    damaged = []
    for checkpoint in (directory.last, directory.previous):
        if not checkpoint.is_file():
            continue
        if (found := damage(checkpoint)) is None:
            return checkpoint
        log.warning("%s is damaged (%s): the checkpoint before it is used.", checkpoint, found)
        damaged.append(checkpoint.name)
    if damaged:
        raise ContinuationError(
            f"{' and '.join(damaged)} in {directory.checkpoints} are damaged: rerun=true begins {directory.path.name} "
            "afresh."
        )
    return None


def check_best(directory: RunDirectory) -> None:
    """Raise ContinuationError where the best epoch's weights are missing or damaged: nothing can be measured."""
    wrong = "does not exist"
    if directory.best.is_file():
        if (found := damage(directory.best)) is None:
            return
        wrong = f"is damaged ({found})"
    raise ContinuationError(f"{directory.best} {wrong}: rerun=true begins {directory.path.name} afresh.")
