"""Does an encoder that learnt to reconstruct one kind of image help to classify another?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aetransfer.runs.frame import runs_frame
    from aetransfer.transfer.loading import load_encoder

__version__ = "0.1.0"
__all__ = ["load_encoder", "runs_frame"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: torch takes seconds, and commands check their words before that.
    match name:
        case "load_encoder":
            from aetransfer.transfer.loading import load_encoder

            return load_encoder
        case "runs_frame":
            from aetransfer.runs.frame import runs_frame

            return runs_frame
    raise AttributeError(f"module 'aetransfer' has no attribute {name!r}")
