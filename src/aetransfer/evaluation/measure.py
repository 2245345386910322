"""What a measure is: a class whose keys are its `__init__`'s, called with a finished run.

One of one's own subclasses `Measure`, and stands in the `evaluation` group under a name of one's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from aetransfer.data.module import DataModule
from aetransfer.evaluation.outcome import Outcome
from aetransfer.evaluation.subject import Subject


class Measure(ABC):
    """needs: what a model must do to be measured, a key of `aetransfer.config.measures.NEEDS`, or nothing.

    needs_labels: whether the data must have classes, or the kinds of targets that will do (see
    `aetransfer.data.targets.Targets`). needs_memory: its keys on which depends how much memory it takes.
    These three are read from the source, before anything is trained: write them as plain values. name, settings: the
    key that it stands at in the config, and all of its keys with their values; filled in when it is built.
    """

    needs: ClassVar[str] = ""
    needs_labels: ClassVar[bool | tuple[str, ...]] = False
    needs_memory: ClassVar[tuple[str, ...]] = ()

    name: str = ""
    settings: Mapping[str, Any]

    def check_data(self, data: DataModule, name: str) -> None:
        """Raise UserError for data that it can't be taken on, before anything is trained. name: of the data."""
        return

    @abstractmethod
    def __call__(self, subject: Subject) -> Outcome:
        """Measure a run. Its cells and facts are plain numbers, texts or None; its notes say their units."""
