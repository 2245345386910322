"""Which of a command's processes this one is, where a launcher started several: srun, submitit, torchrun, or a person
who started one on each node. All of them run the same command. And whether these are what a job asks for.

Lightning's cluster environments say less: they have no submitit, refuse `srun --ntasks`, take a batch script or a shell
of Slurm for one of its tasks, give all steps of a job the same port, and take seconds to import.
"""

import os
import re
from dataclasses import dataclass
from typing import Any

from aetransfer.config.schema import Job, Pretraining
from aetransfer.errors import UserError

# Slurm's own tools take a port of one job to be free for it in such a range; MASTER_PORT says another.
FIRST_PORT, PORTS = 15000, 15000


@dataclass(frozen=True)
class Launched:
    """Process `local` of the `on_node` on this node, of `nodes`. address, port: where the first process is heard.

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
    def is_first(self) -> bool:
        return self.node == self.local == 0

    @property
    def size(self) -> int:
        return self.nodes * self.on_node


def launched(num_nodes: int = 1) -> Launched | None:
    """Return what a launcher says of this process, None for the only process of its command.

    num_nodes: trainer.num_nodes, the number of processes where a person starts them by NODE_RANK.
    """
    for found in (_torchrun(), _submitit(), _slurm(), _by_hand(num_nodes)):
        if found is not None:
            return found if found.size > 1 else None
    return None


def _torchrun() -> Launched | None:
    """Read torchrun's variables, of which Kubernetes' training operator sets those without LOCAL."""
    env = os.environ
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= env.keys():
        return None
    on_node = int(env.get("LOCAL_WORLD_SIZE", 1))
    node, local = divmod(int(env["RANK"]), on_node)
    return Launched(
        "torchrun",
        int(env.get("GROUP_RANK", node)),
        int(env["WORLD_SIZE"]) // on_node,
        int(env.get("LOCAL_RANK", local)),
        on_node,
        env["MASTER_ADDR"],
        int(env["MASTER_PORT"]),
        has_store=env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _submitit() -> Launched | None:
    """Read the variables of submitit's local executor; on a cluster its jobs are Slurm's."""
    env = os.environ
    if "SUBMITIT_LOCAL_NTASKS" not in env:
        return None
    tasks, local = int(env["SUBMITIT_LOCAL_NTASKS"]), int(env.get("SUBMITIT_LOCAL_LOCALID", 0))
    return Launched("submitit", 0, 1, local, tasks, "127.0.0.1", _port(env.get("SUBMITIT_LOCAL_JOB_ID", "0")))


def _slurm() -> Launched | None:
    """Read what srun tells each task of a step. A batch script or an interactive shell has no step of several tasks."""
    env = os.environ
    tasks, nodes = int(env.get("SLURM_STEP_NUM_TASKS", 1)), int(env.get("SLURM_STEP_NUM_NODES", 1))
    if tasks == 1:
        return None
    if tasks % nodes:
        raise UserError(f"srun started {tasks} processes on {nodes} nodes: give each node equally many.")
    # The first of a compressed list: node01 of node[01-04,07],other.
    first = re.match(r"[^\[,]*(\[[^],-]+)?", env.get("SLURM_STEP_NODELIST", "127.0.0.1"))
    address = "127.0.0.1" if nodes == 1 or first is None else first[0].replace("[", "")
    return Launched(
        "srun",
        int(env.get("SLURM_NODEID", 0)),
        nodes,
        int(env.get("SLURM_LOCALID", 0)),
        tasks // nodes,
        env.get("MASTER_ADDR", address),
        _port(f"{env.get('SLURM_JOB_ID', 0)}.{env.get('SLURM_STEP_ID', 0)}"),
    )


def _by_hand(num_nodes: int) -> Launched | None:
    env = os.environ
    if num_nodes == 1 or not {"NODE_RANK", "MASTER_ADDR", "MASTER_PORT"} <= env.keys():
        return None
    return Launched("NODE_RANK", int(env["NODE_RANK"]), num_nodes, 0, 1, env["MASTER_ADDR"], int(env["MASTER_PORT"]))


def _port(job: str) -> int:
    """Return MASTER_PORT, else one that all of a job's processes derive alike and other jobs hardly do."""
    digits = int(re.sub(r"\D", "", job) or 0)
    return int(os.environ.get("MASTER_PORT", FIRST_PORT + digits % PORTS))


def check_processes(job: Job) -> None:
    """Raise UserError where a job asks for other processes than a launcher started, or for what they can't share."""
    trainer, processes = job.trainer, processes_of(job)
    if trainer.strategy == "fsdp" and trainer.gradient_clip_val is not None:
        raise UserError(
            "trainer.strategy=fsdp can't clip by the norm of gradients that no process has: leave "
            "trainer.gradient_clip_val out."
        )
    batches = {"data.batch_size": job.data.batch_size}
    if job.transfer is not None and job.transfer.carries and isinstance(job.pretrain, Pretraining):
        batches["pretrain.data.batch_size"] = job.pretrain.data.batch_size
    size, here = processes * trainer.num_nodes, launched(trainer.num_nodes)
    for key, images in batches.items():
        if images % size:
            raise UserError(f"{key}={images} is shared by {size} processes: choose a multiple of {size}.")
    if here is None and trainer.num_nodes > 1:
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes}, but this is the only process: start the command on each node, by "
            "srun, by torchrun, or with NODE_RANK, MASTER_ADDR and MASTER_PORT set."
        )
    if here is not None and (here.nodes != trainer.num_nodes or here.on_node not in (1, processes)):
        raise UserError(
            f"{here.launcher} started {here.on_node} processes on {here.nodes} nodes, but the config asks for "
            f"trainer.devices={processes} on trainer.num_nodes={trainer.num_nodes}: let both agree."
        )


def processes_of(job: Job) -> int:
    """Return how many processes a job has on each node: one a device."""
    trainer = job.trainer
    if trainer.devices != "auto":
        return trainer.devices
    # Lightning takes seconds to import.
    from pytorch_lightning import Trainer

    from aetransfer.training.strategy import Worker

    plugins: list[Any] = [Worker()]
    return Trainer(
        accelerator=trainer.accelerator, devices="auto", plugins=plugins, logger=False, enable_checkpointing=False
    ).num_devices
