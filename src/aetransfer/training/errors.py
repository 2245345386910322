"""What goes wrong with the machine and not with the program, said so that somebody can mend it.

A disk that is full, a folder that is gone or can't be written, memory that does not suffice, a service that a logger
sends to: each may show anywhere.
"""

import errno
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aetransfer.config.instantiate import SERVICES
from aetransfer.errors import UserError
from aetransfer.files import WriteError

log = logging.getLogger(__name__)

OF_THE_DISK = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.ESTALE),
}
FULL = (errno.ENOSPC, errno.EDQUOT)
NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "DefaultCPUAllocator", "bad_alloc")

# Whose memory it was, in the words of torch's backends.
GPUS = ("CUDA", "HIP", "MPS")


def explained(error: BaseException, directory: Path) -> UserError | None:
    """Return the sentence for what befell the run in `directory`, None where the machine is not to blame.

    What came first counts: loggers that are closed on a full disk fail again.
    """
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None:
        chain.append(each)
        told, each = _tells_of_file(each), each.__cause__ or each.__context__
        # A file that could not be written can't be closed either.
        while told and isinstance(each, OSError):
            each = each.__cause__ or each.__context__
    sentences = [sentence for each in chain if (sentence := _sentence(each, directory)) is not None]
    return sentences[-1] if sentences else None


@contextmanager
def said(directory: Path) -> Iterator[None]:
    """Raise the sentence, a UserError, in place of what befell the run in `directory`."""
    try:
        yield
    except Exception as error:
        if (sentence := explained(error, directory)) is not None:
            raise sentence from error
        raise


@contextmanager
def memory_for(lower: str) -> Iterator[None]:
    """Raise a UserError where memory does not suffice for what is done with a finished run.

    lower: what to do for less of it to be needed, empty where there is nothing but a larger machine.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not _is_of_memory(error):
            raise
        elsewhere = (
            "choose accelerator=cpu" if any(name in str(error) for name in GPUS) else "take a machine with more of it"
        )
        raise UserError(f"Out of memory ({_line(error)}): {f'{lower}, or ' if lower else ''}{elsewhere}.") from error


def _sentence(error: BaseException, directory: Path) -> UserError | None:
    if not directory.is_dir() and (isinstance(error, OSError) or _tells_of_file(error)):
        return UserError(f"{directory} was removed while the run was being done: the same command begins it afresh.")
    if isinstance(error, WriteError):
        return error
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        return _unwritable(error, directory)
    if _is_of_memory(error):
        return UserError(
            f"Out of memory ({_line(error)}): lower data.batch_size (python -m aetransfer.batch_size finds one that "
            "fits), encoder.widths or data.max_memory_gb, or choose trainer.precision=bf16-mixed."
        )
    service = type(error).__module__.partition(".")[0]
    # wandb's own reason for what it says has no text at all.
    if service in SERVICES.values() and (reason := " ".join(str(error).split()).rstrip(".")):
        return UserError(f"{service} can't be logged to ({reason}): mend that, or choose another logger.")
    return None


def _tells_of_file(error: BaseException) -> bool:
    """Tell whether an error is a sentence that says all that the OSError behind it does."""
    return isinstance(error, UserError) and isinstance(error.__cause__, OSError)


def _is_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def _unwritable(error: OSError, directory: Path) -> UserError | None:
    """Explain what failed while something was appended: a log, or TensorBoard's events, whose file is not named."""
    path = Path(str(error.filename)) if error.filename else directory
    if directory not in (path, *path.parents) and error.errno not in FULL:
        return None
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    return UserError(
        f"{path} can't be written ({error.strerror}), the run has taken {size:,} bytes so far and needs more: make "
        "room or let it be written, and the same command goes on where it stopped."
    )


def _line(error: BaseException) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__).partition(". ")[0].rstrip(".")


@contextmanager
def writers_report_here() -> Iterator[None]:
    """Leave it to this thread to say that a disk failed: TensorBoard's writer raises there again what its own met."""
    original = threading.excepthook

    def hook(arguments: Any) -> None:
        if not isinstance(arguments.exc_value, OSError):
            original(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = original
