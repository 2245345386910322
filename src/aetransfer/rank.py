"""One further process of a run that trains on several devices; started by the first, never by hand."""

import sys

from aetransfer.runs import stopping
from aetransfer.runs.directory import RunDirectory
from aetransfer.stages import execute

if __name__ == "__main__":
    run_directory = RunDirectory.existing(sys.argv[1])
    try:
        with stopping.heeded():
            execute(run_directory.read_config(), run_directory, sys.argv[2] if len(sys.argv) > 2 else None)
    except KeyboardInterrupt:
        # The first process says so.
        sys.exit(stopping.INTERRUPTED)
