"""Which of a command's processes this one is, where a launcher started several: srun, submitit, torchrun, or a person
who started one on each node. All of them run the same command; the first one leads, and the others follow it.

Nothing here imports torch until there is somebody to follow.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aetransfer.errors import UserError

# Slurm's own tools take a port of one job to be free for it in such a range; MASTER_PORT says another.
FIRST_PORT, PORTS = 15000, 15000


@dataclass(frozen=True)
class Place:
    """node of `nodes`, and the process `local` of `on_node` there. address, port: where the first process is heard.

    has_store: the launcher listens there itself (torchrun's agent).
    """

    launcher: str
    node: int
    nodes: int
    local: int
    on_node: int
    address: str
    port: int
    has_store: bool = False

    @property
    def leads(self) -> bool:
        return self.node == self.local == 0

    @property
    def size(self) -> int:
        return self.nodes * self.on_node


def place(num_nodes: int = 1) -> Place | None:
    """Return this process's place, None for the only process of its command.

    num_nodes: trainer.num_nodes, the number of processes where a person starts them by NODE_RANK.
    """
    for found in (_torchrun(), _submitit(), _slurm(), _by_hand(num_nodes)):
        if found is not None:
            return found if found.size > 1 else None
    return None


@contextmanager
def led(num_nodes: int, allow: Sequence[str]) -> Iterator[int | None]:
    """Let the first process do what is done meanwhile, for which None is yielded.

    The others have followed it by then and done their part; they get the code to exit with. num_nodes, allow: as the
    config has them.
    """
    here = place(num_nodes)
    if here is None:
        yield None
        return
    from aetransfer.training.distributed import leading
    from aetransfer.training.following import follow

    if not here.leads:
        yield follow(here, allow)
        return
    with leading(here):
        yield None


def _torchrun() -> Place | None:
    """Read torchrun's variables, of which Kubernetes' training operator sets those without LOCAL."""
    env = os.environ
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= env.keys():
        return None
    on_node = int(env.get("LOCAL_WORLD_SIZE", 1))
    node, local = divmod(int(env["RANK"]), on_node)
    return Place(
        "torchrun",
        int(env.get("GROUP_RANK", node)),
        int(env["WORLD_SIZE"]) // on_node,
        int(env.get("LOCAL_RANK", local)),
        on_node,
        env["MASTER_ADDR"],
        int(env["MASTER_PORT"]),
        has_store=env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _submitit() -> Place | None:
    """Read the variables of submitit's local executor; on a cluster its jobs are Slurm's."""
    env = os.environ
    if "SUBMITIT_LOCAL_NTASKS" not in env:
        return None
    tasks, local = int(env["SUBMITIT_LOCAL_NTASKS"]), int(env.get("SUBMITIT_LOCAL_LOCALID", 0))
    return Place("submitit", 0, 1, local, tasks, "127.0.0.1", _port(env.get("SUBMITIT_LOCAL_JOB_ID", "0")))


def _slurm() -> Place | None:
    """Read what srun tells each task of a step. A batch script or an interactive shell has no step of several tasks."""
    env = os.environ
    tasks, nodes = int(env.get("SLURM_STEP_NUM_TASKS", 1)), int(env.get("SLURM_STEP_NUM_NODES", 1))
    if tasks == 1:
        return None
    if tasks % nodes:
        raise UserError(f"srun started {tasks} processes on {nodes} nodes: give each node equally many.")
    address = "127.0.0.1" if nodes == 1 else _first_host(env.get("SLURM_STEP_NODELIST", "127.0.0.1"))
    return Place(
        "srun",
        int(env.get("SLURM_NODEID", 0)),
        nodes,
        int(env.get("SLURM_LOCALID", 0)),
        tasks // nodes,
        env.get("MASTER_ADDR", address),
        _port(f"{env.get('SLURM_JOB_ID', 0)}.{env.get('SLURM_STEP_ID', 0)}"),
    )


def _by_hand(num_nodes: int) -> Place | None:
    env = os.environ
    if num_nodes == 1 or not {"NODE_RANK", "MASTER_ADDR", "MASTER_PORT"} <= env.keys():
        return None
    return Place("NODE_RANK", int(env["NODE_RANK"]), num_nodes, 0, 1, env["MASTER_ADDR"], int(env["MASTER_PORT"]))


def _port(job: str) -> int:
    """Return MASTER_PORT, else one that all of a job's processes derive alike and other jobs hardly do."""
    digits = int(re.sub(r"\D", "", job) or 0)
    return int(os.environ.get("MASTER_PORT", FIRST_PORT + digits % PORTS))


def _first_host(nodes: str) -> str:
    """Return the first of Slurm's compressed list: node01 of node[01-04,07],other."""
    return re.sub(r"\[([^],-]+)[^]]*\]?", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])
