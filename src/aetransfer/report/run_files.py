"""Writing a run's page, and doing so at the end of a run in a way that can spoil nothing."""

import logging
from contextlib import suppress
from pathlib import Path

from aetransfer.config.commands import command
from aetransfer.files import WriteError, replace_file
from aetransfer.store.directory import RunDirectory

log = logging.getLogger(__name__)


def write_run_page(directory: RunDirectory) -> Path:
    """Write report.html over an earlier one and return its path. Raises UserError for what is no run or damaged."""
    # Matplotlib takes a second to import, which a command has when its work is done.
    from aetransfer.report.run import page_of
    from aetransfer.report.run_parts import subject_at

    replace_file(directory.page, page_of(subject_at(directory)))
    return directory.page


def leave_page(directory: RunDirectory) -> None:
    """Write the page of a run whose result is written, and what was measured of it onto its card.

    What goes wrong with it is a warning: the run is what it is.
    """
    from aetransfer.report.run_parts import write_on_card

    try:
        write_run_page(directory)
        write_on_card(directory)
    except Exception as error:
        # On a full disk the log finds no room either.
        with suppress(WriteError):
            log.warning(
                "The run's page can't be written (%s: %s); %s writes it again.",
                *(type(error).__name__, error, command("report", [f"run={directory.path}"])),
            )
