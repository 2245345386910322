"""One job at a time in a run, whatever processes and machines of a shared file system ask for it.

A claim is a numbered file that only one process can create; the highest number holds the run. While it works, the
holder keeps rewriting its claim with a higher count, its beat. A waiter takes the next number when the claim says
released, when its process is gone from this machine, or when the beat has stood still for DEAD seconds of the waiter's
own clock. No two clocks are ever compared, so theirs need not agree, and a jump of either does no harm.
"""

import json
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from aetransfer import signals
from aetransfer.files import WriteError, replace_file

log = logging.getLogger(__name__)

BEAT = 5.0
DEAD = 60.0
POLL = 0.5

# Other users of a store must see that a run is held, whatever they may see of the run.
READABLE = 0o644

# What this process holds. A claim of its own that isn't here was left on a disk that could not be written any more.
_held: set[Path] = set()


@dataclass(frozen=True)
class Claim:
    """machine: this boot of a host, and the process namespace in which `pid` counts. born: see `_born`."""

    machine: str
    pid: int
    born: float
    beat: int = 0
    released: bool = False

    @classmethod
    def mine(cls) -> "Claim":
        return cls(_machine(), os.getpid(), _born(os.getpid()))

    @property
    def host(self) -> str:
        return self.machine.split(" ")[0]

    @property
    def boot(self) -> str:
        """Which start of the machine it is; empty where the system gives those no name."""
        return self.machine.split(" ")[1] if " " in self.machine else ""

    def is_gone(self) -> bool:
        """Tell whether the holder has let go, or has died on this machine. False for what only its beat can tell."""
        if self.released:
            return True
        if self.machine != _machine():
            return False
        try:
            # A number is used again in time, so the process must also be as old as the claim says.
            return abs(_born(self.pid) - self.born) > 1
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return True


def _born(pid: int) -> float:
    """Return when a process was started, on a clock that nobody sets: on Linux in ticks since the machine was.

    psutil adds the time of the start of the machine, which moves with the clock. Raises NoSuchProcess or OSError.
    """
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").is_file():
        # Its 22nd field (proc_pid_stat(5)); the second is the command in parentheses, which may hold anything.
        return float(status.read_text().rpartition(")")[2].split()[19])
    return psutil.Process(pid).create_time()


def _machine() -> str:
    boot, processes = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [platform.node()]
    if boot.is_file():
        parts += [boot.read_text().strip(), str(processes.readlink())]
    return " ".join(parts)


class RunLock:
    """The claims on one run, in a directory beside it: removing or renaming the run leaves them alone."""

    def __init__(self, directory: Path, poll: float = POLL, dead: float = DEAD, beat: float = BEAT) -> None:
        self.directory, self.poll, self.dead, self.every = directory, poll, dead, beat
        self.number, self.claim = 0, Claim.mine()
        self.beats: list[Callable[[], None]] = [self._beat]
        self._stop = threading.Event()

    @contextmanager
    def held(self) -> Iterator["RunLock"]:
        """Wait until the run is free, and hold it. Everything in `beats` is called now and then meanwhile."""
        self._wait()
        beating = threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True)
        beating.start()
        try:
            yield self
        finally:
            with signals.deferred():
                self._stop.set()
                beating.join()
                _held.discard(self._file(self.number))
                if not self.lost:
                    # Where it can't be written, this process is soon seen to be gone.
                    with suppress(WriteError):
                        self._write(replace(self.claim, released=True))

    @property
    def lost(self) -> bool:
        """Tell whether another job has the run, or may have it without this one knowing.

        It was taken over, because this process was suspended, say, and seemed dead; or somebody removed the claims.
        """
        return self._highest() > self.number or not self._file(self.number).exists()

    def holder(self) -> Claim | None:
        """Return the claim that holds the run, None where nobody ever did."""
        number = self._highest()
        return self._read(number) if number else None

    def _wait(self) -> None:
        seen, since, told = "", time.monotonic(), False
        self.directory.mkdir(parents=True, exist_ok=True)
        while True:
            number = self._highest()
            claim = self._read(number) if number else None
            now = f"{number} {claim}"
            if now != seen:
                seen, since = now, time.monotonic()
            free = number == 0 or (claim is not None and self._is_left(number, claim))
            free = free or time.monotonic() - since > self.dead
            if free and self._take(number + 1):
                return
            if not free and not told:
                where = f"process {claim.pid} on {claim.host}" if claim else "another job"
                log.info("%s is being worked on by %s: waiting for it.", self.directory.name, where)
                told = True
            time.sleep(self.poll)

    def _is_left(self, number: int, claim: Claim) -> bool:
        mine = (claim.machine, claim.pid, claim.born) == (self.claim.machine, self.claim.pid, self.claim.born)
        return claim.is_gone() or (mine and self._file(number) not in _held)

    def _take(self, number: int) -> bool:
        place, content = self._file(number), json.dumps(asdict(self.claim))
        try:
            with place.open("x") as file:
                try:
                    file.write(content)
                    file.flush()
                    place.chmod(READABLE)
                except OSError:
                    place.unlink()
                    raise
        except FileExistsError:
            return False
        except OSError as error:
            raise WriteError(place, error, len(content)) from error
        if self._highest() != number:
            # This process slept between looking and taking, and the numbers went on without it.
            self._file(number).unlink(missing_ok=True)
            return False
        self.number = number
        _held.add(place)
        for older in self.directory.glob("*.json"):
            # The one before stays, so that its holder, should it wake up, finds the next number taken.
            if int(older.stem) < number - 1:
                older.unlink(missing_ok=True)
        return True

    def _keep_beating(self) -> None:
        told = False
        while not self._stop.wait(self.every):
            if self.lost:
                signals.abandon()
                return
            for beat in self.beats:
                try:
                    beat()
                except (OSError, WriteError) as error:
                    # A full or absent disk ends a run where it writes something that counts.
                    if not told:
                        log.warning("The heartbeat can't be written: %s", error)
                    told = True

    def _beat(self) -> None:
        self.claim = replace(self.claim, beat=self.claim.beat + 1)
        self._write(self.claim)

    def _write(self, claim: Claim) -> None:
        replace_file(self._file(self.number), json.dumps(asdict(claim)), mode=READABLE)

    def _read(self, number: int) -> Claim | None:
        try:
            return Claim(**json.loads(self._file(number).read_text()))
        except (OSError, ValueError, TypeError):
            # Just being written, or left half written by a process that died: its beat stands still.
            return None

    def _highest(self) -> int:
        return max((int(path.stem) for path in self.directory.glob("*.json")), default=0)

    def _file(self, number: int) -> Path:
        return self.directory / f"{number:08}.json"
