"""The lock of a run: one holder, whoever dies, wherever it ran."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import psutil
import pytest

from aetransfer.files import remove_partial_files, replace_file, replacing
from aetransfer.store.lock import Claim, RunLock

QUICK = {"poll": 0.01, "dead": 0.2, "beat": 0.02}


def claims(directory):
    return sorted(directory.glob("*.json"))


def write_claim(directory, number, claim):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{number:08}.json").write_text(json.dumps(asdict(claim)))


def take_turns(directory, shared, count):
    for _ in range(count):
        with RunLock(directory, **QUICK).held():
            # Not atomic on purpose: two holders at once would lose some.
            seen = int(shared.read_text())
            shared.write_text(str(seen + 1))


def test_processes_that_all_want_a_run_hold_it_one_at_a_time(tmp_path):
    shared = tmp_path / "count"
    shared.write_text("0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=take_turns, args=(tmp_path / "lock", shared, 8)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0] * 4
    assert shared.read_text() == "32"
    assert len(claims(tmp_path / "lock")) <= 2


def test_a_holder_that_was_killed_is_succeeded_at_once(tmp_path):
    code = (
        "import sys, time, pathlib\n"
        "from aetransfer.store.lock import RunLock\n"
        "with RunLock(pathlib.Path(sys.argv[1])).held():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()

    with RunLock(tmp_path, poll=0.01, dead=3600).held() as lock:
        assert lock.number == 2


def test_a_holder_on_another_machine_is_succeeded_when_its_beat_stands_still(tmp_path):
    write_claim(tmp_path, 5, replace(Claim.mine(), machine="elsewhere boot namespace", pid=1))

    with RunLock(tmp_path, **QUICK).held() as lock:
        assert lock.number == 6


def test_a_holder_on_another_machine_that_beats_is_waited_for(tmp_path):
    theirs = replace(Claim.mine(), machine="elsewhere boot namespace", pid=1)
    write_claim(tmp_path, 1, theirs)
    lock, entered = RunLock(tmp_path, poll=0.01, dead=0.5, beat=0.02), threading.Event()

    def wait():
        with lock.held():
            entered.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    # Four times as long as a dead one would be waited for.
    for beat in range(20):
        assert not entered.wait(0.1)
        write_claim(tmp_path, 1, replace(theirs, beat=beat + 1))
    write_claim(tmp_path, 1, replace(theirs, released=True))
    waiter.join()
    assert entered.is_set()


def test_the_process_number_of_a_dead_holder_that_is_used_again_deceives_nobody(tmp_path):
    write_claim(tmp_path, 1, replace(Claim.mine(), born=Claim.mine().born - 3600))

    with RunLock(tmp_path, poll=0.01, dead=3600).held() as lock:
        assert lock.number == 2


def test_a_claim_that_was_left_half_written_counts_as_dead_after_a_while(tmp_path):
    (tmp_path / "00000003.json").write_text('{"machine": "el')

    with RunLock(tmp_path, **QUICK).held() as lock:
        assert lock.number == 4


def test_a_holder_that_was_taken_over_is_stopped_and_writes_no_more(tmp_path):
    lock = RunLock(tmp_path, poll=0.01, dead=60, beat=0.01)
    with pytest.raises(KeyboardInterrupt), lock.held():
        write_claim(tmp_path, 2, replace(Claim.mine(), machine="elsewhere"))
        threading.Event().wait(30)

    assert lock.lost
    assert not json.loads((tmp_path / "00000001.json").read_text())["released"]


class Clock:
    """A machine's clock that somebody sets."""

    def __init__(self, monkeypatch):
        self.ahead, now, born = 0.0, time.time, psutil.Process.create_time
        monkeypatch.setattr(time, "time", lambda: now() + self.ahead)
        # psutil counts from the start of the machine, which Linux computes from the clock as it is.
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: born(process) + self.ahead)


@pytest.mark.parametrize("seconds", [-86400.0, 3600.0])
def test_a_holder_is_not_taken_for_dead_when_the_clock_is_set(tmp_path, monkeypatch, seconds):
    clock = Clock(monkeypatch)
    lock, waiter, entered = RunLock(tmp_path, **QUICK), RunLock(tmp_path, **QUICK), threading.Event()

    def wait():
        with waiter.held():
            entered.set()

    with lock.held():
        clock.ahead = seconds
        assert not Claim.mine().is_gone() and not lock.holder().is_gone()
        thread = threading.Thread(target=wait)
        thread.start()
        # Longer than a dead holder would be waited for.
        assert not entered.wait(0.6)
        assert not lock.lost
    thread.join()
    assert entered.is_set()


def test_a_holder_whose_clock_is_a_day_behind_is_believed_as_long_as_it_beats(tmp_path):
    """No claim holds a time of day: what a host's clock says can't matter to another."""
    with RunLock(tmp_path, **QUICK).held() as lock:
        written = json.loads((tmp_path / f"{lock.number:08}.json").read_text())
    assert set(written) == {"machine", "pid", "born", "beat", "released"}
    assert abs(written["born"] - time.time()) > 86400


def test_what_a_process_left_held_on_a_disk_that_failed_it_may_take_again_at_once(tmp_path):
    write_claim(tmp_path, 3, Claim.mine())

    with RunLock(tmp_path, poll=0.01, dead=3600).held() as lock:
        assert lock.number == 4


def test_a_holder_whose_claims_were_removed_is_stopped(tmp_path):
    lock = RunLock(tmp_path / "lock", poll=0.01, dead=60, beat=0.01)
    with pytest.raises(KeyboardInterrupt), lock.held():
        shutil.rmtree(tmp_path / "lock")
        threading.Event().wait(30)

    assert lock.lost
    assert not (tmp_path / "lock").exists()


def test_others_may_read_who_holds_a_run(tmp_path):
    before = os.umask(0o077)
    try:
        with RunLock(tmp_path, **QUICK).held() as lock:
            time.sleep(3 * QUICK["beat"])
            assert (tmp_path / f"{lock.number:08}.json").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_containers_whose_processes_have_the_same_number_can_write_one_file_at_once(tmp_path):
    path = tmp_path / "00000001.json"

    with replacing(path) as one:
        with replacing(path) as other:
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"

    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_process_left_that_was_killed_while_it_wrote_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    replace_file(path, "whole")
    code = "import os, sys; from pathlib import Path; from aetransfer.files import replacing\n"
    code += "with replacing(Path(sys.argv[1])) as partial: partial.write_text('ha'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == 9
    assert len(list(tmp_path.iterdir())) == 2

    remove_partial_files(tmp_path)

    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "whole"
