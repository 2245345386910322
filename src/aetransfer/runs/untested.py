"""Runs that a search made: finished, and without a test, because what chooses settings must not see the test split.

A later command with the same config tests the best epoch, and trains nothing.
"""

from typing import Any

from aetransfer.config.schema import Job
from aetransfer.runs.directory import RunDirectory

# As a result.json says so, and only where it is so.
UNTESTED = "untested"


def is_untested(result: dict[str, Any]) -> bool:
    """Tell whether a result.json, which anybody may have written, is that of a run which a search has finished."""
    says = all(isinstance(result.get(part), dict) for part in ("metrics", "counts", "timing"))
    return says and result.get(UNTESTED) is True


def is_left_to_test(directory: RunDirectory, job: Job) -> bool:
    """Tell whether a run is finished but for the test that the job wants of it, which may have been cut off too."""
    result = directory.result()
    left = result is not None and is_untested(result)
    return left and job.test != "left_out" and not job.rerun
