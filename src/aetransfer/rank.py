"""One further process of a run that trains on several devices; started by the first, never by hand."""

import json
import sys

from aetransfer.runs import stopping
from aetransfer.runs.directory import RunDirectory
from aetransfer.stages import execute

if __name__ == "__main__":
    place, allow, *source = sys.argv[1:]
    run_directory = RunDirectory.existing(place)
    # What a config may call is never read out of a directory: the first process has it from the command line.
    job = run_directory.read_config().model_copy(update={"allow": json.loads(allow)})
    try:
        with stopping.heeded():
            execute(job, run_directory, source[0] if source else None)
    except KeyboardInterrupt:
        # The first process says so.
        sys.exit(stopping.INTERRUPTED)
