"""The measures by the names of the `evaluation` group's files, and what is done with what they find."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aetransfer.config.measures import (
    Classification,
    Fid,
    Measure,
    Measures,
    Probes,
    Reconstruction,
    Representation,
    Transferability,
    Variational,
)
from aetransfer.evaluation.classification import classification
from aetransfer.evaluation.fid import fid
from aetransfer.evaluation.outcome import Outcome, print_outcome, write_outcome
from aetransfer.evaluation.probes import probe
from aetransfer.evaluation.promise import transferability
from aetransfer.evaluation.reconstruction import reconstruction
from aetransfer.evaluation.representation import representation
from aetransfer.evaluation.subject import Subject
from aetransfer.evaluation.variational import variational
from aetransfer.runs import mishaps
from aetransfer.runs.finished import code_version, own_code
from aetransfer.runs.identity import images_identity

MEASURES: dict[type[Measure], Callable[[Subject, Any], Outcome]] = {
    Probes: probe,
    Reconstruction: reconstruction,
    Variational: variational,
    Fid: fid,
    Representation: representation,
    Transferability: transferability,
    Classification: classification,
}


def take(subject: Subject, measures: Measures) -> None:
    """Take, print and write each chosen measure: `evaluation/<name>.json` in the run's directory.

    On another data set than the run's own the name is <name>-<data>, on one of the same name but other images or labels
    <name>-<data>-<digits>, on the validation split it ends in -val. The run's model has the measures
    (`Measures.check_model`).
    """
    for measure, settings in measures.chosen().items():
        keys = [f"evaluation.{measure}.{key}" for key in settings.needs_memory]
        with mishaps.memory_for(f"lower {' or '.join(keys)}" if keys else ""):
            outcome, path = taken(subject, measure, settings)
        where = f"{subject.job.data.name}, {subject.part}"
        print_outcome(outcome, f"{measure} of {subject.directory.path.name} on {where}")
        print(f"{measure}: {path}")


def taken(subject: Subject, measure: str, settings: Measure) -> tuple[Outcome, Path]:
    """Take one measure and write it. Returns what it found and its file. Raises as `take`."""
    outcome = MEASURES[type(settings)](subject, settings)
    data = subject.job.data.name
    name = "-".join([measure, *_elsewhere(subject), *(["val"] if subject.part == "val" else [])])
    about = {
        "measure": measure,
        "run": subject.directory.path.name,
        "data": data,
        "split": subject.part,
        **({"classes": dict(subject.called)} if subject.called else {}),
        "settings": settings.model_dump(),
        "code": code_version(),
        "own_code": own_code(subject.job.allow),
    }
    return outcome, write_outcome(outcome, subject.directory.evaluation, name, about)


def _elsewhere(subject: Subject) -> list[str]:
    """Return what a measure's name says of its data: nothing where they are the run's own."""
    own, data = subject.directory.read_config().data, subject.job.data
    identity = images_identity(data)
    if identity == images_identity(own):
        return []
    return [data.name] if data.name != own.name else [data.name, identity]
