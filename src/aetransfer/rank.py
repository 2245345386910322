"""One further process of a run that trains on several devices; started by another, never by hand."""

import json
import signal
import sys

from aetransfer import signals
from aetransfer.training.following import Follower

if __name__ == "__main__":
    # Ctrl-C in a terminal reaches every process, and the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    host, port, node, local, first, allow = sys.argv[1:]
    follower = Follower(host, int(port), None, int(node), int(local), False, json.loads(allow), int(first))
    try:
        with signals.heeded():
            code = follower.follow()
    except KeyboardInterrupt:
        code = signals.INTERRUPTED
    sys.exit(code)
