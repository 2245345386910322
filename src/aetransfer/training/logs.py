"""Where log lines go: the terminal, a run's own file, and nowhere for what says nothing."""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOWrapper
from pathlib import Path

from aetransfer.files import WriteError
from aetransfer.printable import without_secrets

# Lightning's remarks that are no news here: batches need no workers, runs resume into their directory by design.
NO_NEWS = (
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*does not have many workers.*",
    r"Checkpoint directory .* exists and is not empty.*",
    r".*is smaller than the logging interval.*",
    r".*your dataloader is not resumable.*",
    r"FSDP.state_dict_type\(\) and FSDP.set_state_dict_type\(\) are being deprecated.*",
    r"The `srun` command is available on your system but is not used.*",
    r"Found \d+ module\(s\) in eval mode at the start of training.*",
)


def to_terminal() -> None:
    """Print what this program has to say, and the warnings of others, to standard output."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout, force=True)
    logging.getLogger("aetransfer").setLevel(logging.INFO)


def say_torch() -> None:
    """Say what takes the next seconds, in which there is nothing else to say."""
    if "torch" not in sys.modules:
        print("importing torch", flush=True)


@contextmanager
def printed_to(path: Path, *, for_good: bool) -> Iterator[None]:
    """Append what is printed and logged meanwhile to a file.

    for_good: this process prints nothing elsewhere any more, nor do those that it starts, or the libraries in C.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace") as file:
        if for_good:
            for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
                stream.flush()
                os.dup2(file.fileno(), number)
                if isinstance(stream, TextIOWrapper):
                    stream.reconfigure(line_buffering=True)
            yield
            return
        with redirect_stdout(file), redirect_stderr(file):
            yield
    to_terminal()


def quiet_lightning() -> None:
    """Leave out Lightning's tips and hardware lines. It sets its level when imported, so this comes after that."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in NO_NEWS:
        warnings.filterwarnings("ignore", message=message)


class _RunLog(logging.Handler):
    """A file that is always written through. On a full disk whoever logs in the main thread learns of it: the run ends.

    logging itself would print a traceback to the terminal at each line, and go on.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._file = path, path.open("ab", buffering=0)

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{without_secrets(self.format(record))}\n".encode()
        try:
            self._file.write(line)
        except OSError as error:
            if threading.current_thread() is threading.main_thread():
                raise WriteError(self._path, error, len(line)) from error

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Append everything that is logged meanwhile to a file, with the time."""
    handler = _RunLog(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
