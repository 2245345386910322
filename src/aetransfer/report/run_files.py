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
    from aetransfer.report.html import filled
    from aetransfer.report.run import content_of
    from aetransfer.report.run_facts import HOW, subject_at

    content = content_of(subject_at(directory))
    replace_file(directory.page, filled("run.html.jinja", content=content, how=HOW))
    return directory.page


def leave_page(directory: RunDirectory) -> None:
    """Write the page of a run whose result is written, and what was measured of it onto its card.

    What goes wrong with it is a warning: the run is what it is.
    """
    from aetransfer.report.run_measures import write_on_card

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
