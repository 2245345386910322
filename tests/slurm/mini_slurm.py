"""A real Slurm of one node in a folder, for tests: no systemd, no munge, no accounting database.

apt-get install -y --no-install-recommends slurm-wlm
python -m tests.slurm.mini_slurm start|stop [DIR]   then:  . DIR/env.sh
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd")
PORT = int(os.environ.get("MINI_SLURM_PORT", "16817"))

CONF = """\
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort={port}
SlurmdPort={port_of_node}
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=0
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
MinJobAge=900
KillWait=10
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

# Where no slurmdbd runs, sacct knows nothing, and submitit would wait for ever on a cancelled job. This one answers the
# one question that submitit asks, `sacct -o JobID,State,NodeList --parsable2 -j ID...`, from scontrol.
SACCT = r"""#!/bin/sh
ids=
while [ $# -gt 0 ]; do case $1 in -j) ids="$ids $(echo "$2" | tr , ' ')"; shift ;; esac; shift; done
echo 'JobID|State|NodeList'
for id in $ids; do scontrol -o show job "$id" 2>/dev/null; done | awk '{
  job=array=task=state=nodes=""
  for (i=1; i<=NF; i++) { split($i, pair, "=")
    if (pair[1]=="JobId") job=pair[2]; else if (pair[1]=="ArrayJobId") array=pair[2]
    else if (pair[1]=="ArrayTaskId") task=pair[2]; else if (pair[1]=="JobState") state=pair[2]
    else if (pair[1]=="NodeList") nodes=pair[2] }
  if (array!="" && task ~ /[-,%]/) task="[" task "]"
  print (array=="" ? job : array "_" task) "|" state "|" (nodes=="(null)" ? "None assigned" : nodes) }'
"""


@dataclass(frozen=True)
class MiniSlurm:
    """A cluster in `folder`; two on one machine need ports of their own (`port` and the one after it)."""

    folder: Path
    port: int = PORT

    @property
    def environment(self) -> dict[str, str]:
        """Return what a command needs to find this cluster."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        return {"SLURM_CONF": str(self.folder / "etc" / "slurm.conf"), "PATH": path}

    def start(self) -> None:
        """Start the daemons and wait for the node. Raises RuntimeError with their logs where it does not come up."""
        for name in ("bin", "etc", "run", "log", "state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        sacct = self.folder / "bin" / "sacct"
        sacct.write_text(SACCT)
        sacct.chmod(0o755)
        host, node = socket.gethostname().partition(".")[0], self._slurm("slurmd", "-C")
        conf = CONF.format(
            host=host, folder=self.folder, port=self.port, port_of_node=self.port + 1,
            cpus=re.search(r"CPUs=(\d+)", node)[1], memory=re.search(r"RealMemory=(\d+)", node)[1],
        )  # fmt: skip
        (self.folder / "etc" / "slurm.conf").write_text(conf)
        exports = " ".join(f"{name}={value}" for name, value in self.environment.items())
        (self.folder / "env.sh").write_text(f"export {exports}\n")
        for daemon in DAEMONS:
            self._slurm(daemon, "-c")
        for _ in range(300):
            if self._slurm("sinfo", "--noheader", "--format=%t", check=False).strip() == "idle":
                return
            time.sleep(0.1)
        logs = "\n".join(path.read_text() for path in (self.folder / "log").iterdir())
        self.stop()
        raise RuntimeError(f"The node did not come up:\n{logs}")

    def stop(self) -> None:
        """End all jobs, then the daemons."""
        self._slurm("scancel", "--state=PENDING", f"--user={os.getuid()}", check=False)
        self._slurm("scancel", f"--user={os.getuid()}", check=False)
        for daemon in DAEMONS[::-1]:
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                pid = int((self.folder / "run" / f"{daemon}.pid").read_text())
                os.kill(pid, signal.SIGTERM)
                while Path(f"/proc/{pid}").is_dir():
                    time.sleep(0.1)

    def _slurm(self, *words: str, check: bool = True) -> str:
        environment = {**os.environ, **self.environment}
        return subprocess.run(words, env=environment, check=check, capture_output=True, text=True, timeout=60).stdout


def missing() -> str | None:
    """Say why no cluster can be started here; None where one can."""
    absent = [name for name in (*DAEMONS, "sbatch") if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install -y --no-install-recommends slurm-wlm"
    return None if os.getuid() == 0 else "slurmd starts jobs as root only"


if __name__ == "__main__":
    cluster = MiniSlurm(Path(sys.argv[2] if len(sys.argv) > 2 else "/tmp/mini-slurm"))
    {"start": cluster.start, "stop": cluster.stop}[sys.argv[1]]()
