"""Does an encoder that learnt to reconstruct one kind of image help to classify another?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aetransfer.errors import UserError
    from aetransfer.from_python import compose, run, sweep
    from aetransfer.inference.predictor import load_classifier
    from aetransfer.store.listing import runs_frame
    from aetransfer.transfer.loading import load_encoder

__version__ = "0.2.0"
__all__ = ["UserError", "compose", "load_classifier", "load_encoder", "run", "runs_frame", "sweep"]

# Imported when asked for: torch takes seconds, and commands check their words before that.
_PLACES = {
    "UserError": "errors",
    "compose": "from_python",
    "load_classifier": "inference.predictor",
    "load_encoder": "transfer.loading",
    "run": "from_python",
    "runs_frame": "store.listing",
    "sweep": "from_python",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"aetransfer.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'aetransfer' has no attribute {name!r}")
