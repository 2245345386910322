"""The GPU's check in one script: does it compute what a CPU does, does a killed run go on, and how fast is it?

    python benchmarks/gpu.py

Under 8 minutes on one GPU; needs no data set and no network. Writes outputs/gpu.md, and every number to gpu.json beside
it, after each stage. A stage that fails is said in the table, and the exit code is 1. `--only quickstart,speed` chooses
stages. `--accelerator cpu --small` tries the script itself, on a CPU.

quickstart   the experiment on both devices: each epoch's losses and the test metrics beside each other
resume       a pretraining and its transfer, each killed within an epoch and resumed: the same bits as undisturbed?
speed        images a second against a loop that is written by hand: compiled, fused, bf16, its data on the device
"""

import argparse
import gc
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.data.examples import Examples
from aetransfer.files import replace_file
from aetransfer.store.directory import RunDirectory
from aetransfer.store.record import provenance
from aetransfer.training import logs
from aetransfer.training.build import make_data, make_encoder, make_model, make_trainer
from aetransfer.training.callbacks import resume
from aetransfer.training.callbacks.progress import Throughput
from aetransfer.transfer.resolve import resolve

MODELS = {"autoencoder": ["model=ae"], "classifier": ["model=classifier", "transfer=scratch"]}
LOSSES, RESULTS = ("mse", "nll"), ("mse", "acc")
# A sentence of this program's, or the last line of a traceback.
ERROR = re.compile(r"error: |[\w.]*(Error|Exception): ")


class Setting(NamedTuple):
    """How the program trains, as its config says; channels_last is what it always is."""

    precision: str = "32-true"
    compile: bool = False
    channels_last: bool = True
    streamed: bool = False
    augmented: bool = False

    @property
    def words(self) -> str:
        """What is not as usual."""
        said = {"compiled": self.compile, "not channels_last": not self.channels_last}
        said |= {"streamed": self.streamed, "augmented": self.augmented}
        return " ".join([self.precision, *(word for word, is_so in said.items() if is_so)])


# At every batch size, and then at the first one alone. What is not compiled is cheap to measure.
MAIN = (Setting(), Setting("bf16-mixed"), Setting("bf16-mixed", compile=True))
FURTHER = (
    Setting(channels_last=False),
    Setting("bf16-mixed", channels_last=False),
    Setting(streamed=True),
    Setting("bf16-mixed", streamed=True),
    Setting(augmented=True),
    Setting(compile=True),
)


@dataclass(frozen=True)
class Form:
    """How much is done. needs: the seconds of a stage, and of a compiled and another row of `speed`."""

    sweep: tuple[str, ...]
    words: tuple[str, ...]
    killed_after: int
    images: int
    batches: tuple[int, ...]
    warm_up: int
    seconds: float
    needs: dict[str, float]


FULL = Form(
    sweep=("transfer=scratch,finetune", "seed=0,1"),
    words=(),
    killed_after=60,  # within the second epoch of the pretraining, and the seventh of the transfer
    images=50_000,
    batches=(512, 128, 2048),
    warm_up=10,
    seconds=1.5,
    needs={"quickstart": 120, "resume": 90, "speed": 30, "compiled": 30, "other": 8},
)
SMALL = Form(
    sweep=("transfer=finetune", "seed=0"),
    words=(
        *("encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", "callbacks=none", "logger=none"),
        *("pretrain.trainer.max_epochs=2", "pretrain.trainer.limit_train_batches=4"),
        *("trainer.max_epochs=2", "trainer.limit_train_batches=4"),
    ),
    killed_after=6,
    images=640,
    batches=(32,),
    warm_up=1,
    seconds=0.05,
    needs={"quickstart": 10, "resume": 20, "speed": 5, "compiled": 10, "other": 1},
)


class CommandError(Exception):
    """A command that did not end as it should; the message is what it said, or what it did."""


@dataclass
class Check:
    """What all stages share. report: what was measured so far, by stage; save: write it."""

    form: Form
    accelerator: str
    folder: Path
    until: float
    save: Callable[[], None] = lambda: None
    report: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def left(self) -> float:
        return max(0.0, self.until - time.monotonic())

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if self.accelerator == "gpu" else "cpu")

    def train(self, store: Path, *words: str, kill_expected: bool = False) -> bool:
        """Run the command; return whether it was killed. Raises CommandError where it fails, or no time is left."""
        environment = {**os.environ, "AETRANSFER_OUTPUT_DIR": str(store)}
        environment.setdefault("OMP_NUM_THREADS", "1")
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        if self.accelerator == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        command = [sys.executable, "-m", "aetransfer.train", *words, *self.form.words, "trainer.progress=false"]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=max(1, self.left))
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"No time was left for {' '.join(words)}.") from error
        if done.returncode == -signal.SIGKILL and kill_expected:
            return True
        if done.returncode:
            said = f"{done.stdout}\n{done.stderr}".splitlines()
            raise CommandError(next(filter(ERROR.match, said), f"exit code {done.returncode}"))
        return False


def main() -> None:
    options = _options()
    if options.accelerator == "gpu" and not torch.cuda.is_available():
        raise SystemExit("error: PyTorch finds no GPU here; --accelerator cpu --small tries the script without one.")
    form = SMALL if options.small else FULL
    with tempfile.TemporaryDirectory() as folder:
        check = Check(form, options.accelerator, Path(folder), time.monotonic() + 60 * options.minutes)
        facts = _facts(check)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        check.save = lambda: _write(options.output, facts, check.report)
        for name in options.only:
            stage = check.report[name] = {"status": "cut off", "rows": []}
            check.save()
            print(f"{name}: {check.left:.0f} s are left", flush=True)
            if check.left < form.needs[name]:
                stage |= {"status": "skipped", "why": f"{check.left:.0f} s left, and it takes {form.needs[name]:.0f}"}
            else:
                _run_stage(name, check, stage)
            check.save()
    print(options.output.with_suffix(".md").read_text())
    raise SystemExit(int(any(stage["status"] == "failed" for stage in check.report.values())))


def _options() -> argparse.Namespace:
    def stages(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(STAGES):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose from {', '.join(STAGES)}")
        return [name for name in STAGES if name in names]

    parser = argparse.ArgumentParser(description="The GPU's check: python benchmarks/gpu.py")
    parser.add_argument("--only", type=stages, default=list(STAGES), metavar="STAGE,...", help=", ".join(STAGES))
    parser.add_argument("--accelerator", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--small", action="store_true", help="a few batches of everything")
    parser.add_argument("--minutes", type=float, default=8.0, help="what has no time left is skipped")
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu"), help="without .md and .json")
    return parser.parse_args()


def _run_stage(name: str, check: Check, stage: dict[str, Any]) -> None:
    began = time.monotonic()
    try:
        STAGES[name](check, stage)
        errors = len(stage.get("errors", ()))
        stage |= {"status": "failed", "why": f"{errors} rows, see below"} if errors else {"status": "done"}
    except Exception as error:
        stage |= {"status": "failed", "why": _one_line(error)}
    stage["seconds"] = round(time.monotonic() - began, 1)


def _one_line(error: Exception) -> str:
    kind = "" if isinstance(error, CommandError) else f"{type(error).__name__}: "
    return kind + next(iter(str(error).strip().splitlines()), "")


# -- quickstart --------------------------------------------------------------------------------------------------------


def quickstart(check: Check, stage: dict[str, Any]) -> None:
    """Compare the transfers of a sweep over both devices, and a pretraining that the second device does by itself.

    The sweep's transfers start from the same pretrainings, which are the CPU's. On a CPU alone the second device is
    what `auto` finds.
    """
    shared, alone = check.folder / "sweep", check.folder / "alone"
    other = check.accelerator if check.accelerator != "cpu" else "auto"
    check.train(shared, "-m", "experiment=quickstart", *check.form.sweep, f"trainer=cpu,{other}")
    runs = _runs(shared)
    for name, run in runs.items():
        if name.startswith("transfer") and name.endswith(" cpu"):
            stage["rows"].append(_compared(name.removesuffix(" cpu"), run, runs[name.removesuffix("cpu") + other]))
    check.save()
    check.train(alone, "experiment=quickstart", "transfer=finetune", "seed=0", f"trainer={other}")
    both = [
        next(run for name, run in _runs(store).items() if name.startswith("pretrain s0")) for store in (shared, alone)
    ]
    stage["rows"].append(_compared("pretraining s0", *both))


def _runs(store: Path) -> dict[str, Path]:
    """Return the runs of a store by stage, arm, seed and accelerator."""
    found = {}
    for path in sorted(store.glob("runs/*/config.yaml")):
        config = yaml.safe_load(path.read_text())
        words = [path.parent.name.partition("-")[0], (config.get("transfer") or {}).get("name"), f"s{config['seed']}"]
        found[" ".join([*filter(None, words), config["trainer"]["accelerator"]])] = path.parent
    return found


def _compared(name: str, left: Path, right: Path) -> dict[str, Any]:
    """Return the absolute differences of two runs' curves, by epoch, and the test metrics of both."""
    curves = [json.loads((run / "history.json").read_text()) for run in (left, right)]
    metrics = [json.loads((run / "result.json").read_text())["metrics"] for run in (left, right)]
    names = [key for key in curves[0][0] if key.startswith(("train/", "val/"))]
    epochs = [{key: abs(one[key] - two[key]) for key in names} for one, two in zip(*curves, strict=True)]
    test = {key: [each[key] for each in metrics] for key in metrics[0] if key.startswith("test/")}
    return {"run": name, "epochs": epochs, "test": test}


def _show_quickstart(stage: dict[str, Any]) -> Iterator[str]:
    rows = stage["rows"]
    yield from _table(
        ["run", "test metric", "CPU", "device", "largest difference of the training loss", "of the validation loss"],
        [
            [row["run"], key, *(f"{value:.4f}" for value in row["test"][key])]
            + [_largest(row["epochs"], part) for part in ("train", "val")]
            for row in rows
            for key in row["test"]
            if key.partition("/")[2] in RESULTS
        ],
    )
    yield "\nDifference of the validation loss by epoch:\n"
    longest = max(len(row["epochs"]) for row in rows)
    columns = [[f"{_loss(epoch, 'val'):.2e}" for epoch in row["epochs"]] for row in rows]
    yield from _table(
        ["epoch", *(row["run"] for row in rows)],
        [[n + 1, *(column[n] if n < len(column) else "" for column in columns)] for n in range(longest)],
    )


def _loss(epoch: dict[str, float], part: str) -> float:
    return next(epoch[f"{part}/{loss}"] for loss in LOSSES if f"{part}/{loss}" in epoch)


def _largest(epochs: list[dict[str, float]], part: str) -> str:
    values = [_loss(epoch, part) for epoch in epochs]
    return f"{max(values):.2e} (epoch {values.index(max(values)) + 1})"


# -- resume ------------------------------------------------------------------------------------------------------------


class Kill(Callback):
    """SIGKILL after a step of a training that began afresh. Until then each step is saved, not one in two minutes."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.from_the_start = trainer.global_step == 0
        if self.from_the_start:
            resume.SECONDS_BETWEEN_CHECKPOINTS = -1.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Checkpoints are made by callbacks that come later: this step is not saved.
        if self.from_the_start and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def resumed(check: Check, stage: dict[str, Any]) -> None:
    """Kill the pretraining, resume it, kill the transfer, resume it; compare both with what nobody has disturbed."""
    words = ["experiment=quickstart", "transfer=finetune", "seed=0", f"trainer={check.accelerator}"]
    words.append("trainer.deterministic=true")
    kill = f"+callbacks.kill={{_target_:gpu.Kill,step:{check.form.killed_after},only_looks:true}}"
    whole, killed = check.folder / "whole", check.folder / "killed"
    check.train(whole, *words)
    kills = [check.train(killed, *words, kill, "allow=[gpu]", kill_expected=True) for _ in range(3)]
    if kills != [True, True, False]:
        raise CommandError(f"Each stage should be killed once, and then go on: of three starts, killed were {kills}.")
    for name, path in _runs(whole).items():
        stage["rows"].append({"run": name, **_bits(path, killed / "runs" / path.name)})


def _bits(whole: Path, killed: Path) -> dict[str, Any]:
    """Compare what two runs end in: the exported encoder's bytes, all weights of the last state, curves and metrics."""
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (whole, killed)]
    curves = _compared("", whole, killed)
    numbers = [value for epoch in curves["epochs"] for value in epoch.values()]
    numbers += [abs(one - two) for one, two in curves["test"].values()]
    weights = [(states[0][key].double() - states[1][key].double()).abs().max().item() for key in states[0]]
    encoders = [load_file(run / "encoder.safetensors") for run in (whole, killed)]
    same = all(torch.equal(encoders[0][key], encoders[1][key]) for key in encoders[0])
    same = same and all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    return {"equal": same and not any(numbers), "weights": max(weights), "metrics": max(numbers)}


def _show_resumed(stage: dict[str, Any]) -> Iterator[str]:
    yield "Killed by SIGKILL in mid-epoch and resumed, beside the same run undisturbed (trainer.deterministic=true):\n"
    rows = [
        [row["run"], "yes" if row["equal"] else "**no**", f"{row['weights']:.2e}", f"{row['metrics']:.2e}"]
        for row in stage["rows"]
    ]
    yield from _table(["run", "equal bits", "largest difference of a weight", "of a loss or metric"], rows)


# -- speed -------------------------------------------------------------------------------------------------------------


class Measured(BaseException):
    """Ends a fit once its steps were timed; no error."""


@dataclass
class Clock:
    """Times a loop's steps after a warm-up, with nothing left in the device's queue at either end."""

    form: Form
    device: torch.device
    began: float = field(default_factory=time.perf_counter)
    steps: int = 0
    warm_up: float = 0.0
    seconds: float = 0.0

    def step(self, last: bool = False) -> bool:
        """Count a step; return whether the measurement is over."""
        self.steps += 1
        if self.steps == self.form.warm_up:
            now = self._now()
            self.warm_up, self.began = now - self.began, now
        elif self.steps > self.form.warm_up and (last or time.perf_counter() - self.began > self.form.seconds):
            self.seconds = self._now() - self.began
            return True
        return False

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def result(self, batch: int) -> dict[str, Any]:
        """Images a second, the warm-up's seconds and, of a GPU, the largest memory that tensors took, in MB."""
        if not self.seconds:
            raise CommandError(f"After {self.steps} steps nothing was measured.")
        speed = (self.steps - self.form.warm_up) * batch / self.seconds
        peak = torch.cuda.max_memory_allocated() / 1e6 if self.device.type == "cuda" else None
        return {"images_per_second": speed, "warm_up_seconds": self.warm_up, "peak_mb": peak}


class TimedSteps(Callback):
    """Lets the clock count the program's steps, and ends the fit when it has what it needs."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.clock.step(trainer.is_last_batch):
            raise Measured


def speed(check: Check, stage: dict[str, Any]) -> None:
    """Measure each row as long as there is time; of what fails the error is kept."""
    logs.quiet_lightning()
    images = _made_images(check.form.images)
    stage |= {"errors": [], "left_out": []}
    plan = [(model, batch, each) for batch in check.form.batches for model in MODELS for each in (None, *MAIN)]
    plan += [(model, check.form.batches[0], each) for model in MODELS for each in FURTHER]
    by_hand: dict[tuple[str, int], float] = {}
    for model, batch, setting in plan:
        name = f"{model}, batch {batch}, {setting.words if setting else 'by hand'}"
        compiled = setting is None or setting.compile
        if check.left < check.form.needs["compiled" if compiled else "other"]:
            stage["left_out"].append(name)
            continue
        try:
            _forget(check.device)
            if setting is None:
                measured = _by_hand(check, model, batch, images)
                by_hand[model, batch] = measured["images_per_second"]
            else:
                measured = _by_the_program(check, model, batch, setting, images)
        except Exception as error:
            stage["errors"].append(f"{name}: {_one_line(error)}")
        else:
            peer = by_hand.get((model, batch))
            measured["ratio"] = measured["images_per_second"] / peer if peer else None
            said = None if setting is None else setting._asdict()
            stage["rows"].append({"model": model, "batch": batch, "setting": said, **measured})
            print(f"{name}: {measured['images_per_second']:,.0f} images/s", flush=True)
        check.save()


def _forget(device: torch.device) -> None:
    """Forget what was compiled and allocated before: a second batch size would be compiled for all sizes."""
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _made_images(count: int) -> Examples:
    """Noise of CIFAR-10's shape: what is in the pixels makes no difference to speed."""
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Examples(pixels, torch.arange(count) % 10, names=tuple("abcdefghij"))


def _job(check: Check, model: str, batch: int, setting: Setting) -> Job:
    words = ["data=cifar10", *MODELS[model], f"data.batch_size={batch}", f"trainer={check.accelerator}"]
    # One epoch, of whole batches alone, that is longer than what is timed.
    words += [f"data.epoch_images={batch * 4000}", "trainer.max_epochs=1", "trainer.progress=false"]
    words += [f"trainer.precision={setting.precision}", f"trainer.compile={str(setting.compile).lower()}"]
    words += [] if setting.augmented else ["augment@data.augment=none"]
    words += ["data.max_memory_gb=0"] if setting.streamed else []
    return resolve(checked(composed("train", words), Job), words)


def _by_the_program(check: Check, model: str, batch: int, setting: Setting, images: Examples) -> dict[str, Any]:
    """Time the steps of a run with all that a user's has: metrics, loggers, callbacks."""
    job = _job(check, model, batch, setting)
    data = make_data(job.data, job.seed, job.allow)
    data.reader = lambda split: images
    data.setup("fit")
    torch.manual_seed(0)
    module = make_model(job, make_encoder(job), outputs=10)
    if not setting.channels_last:
        module.to(memory_format=torch.contiguous_format)
    clock = Clock(check.form, check.device)
    with tempfile.TemporaryDirectory() as directory:
        trainer = make_trainer(job, RunDirectory(Path(directory)), module, Throughput())
        trainer.callbacks.append(TimedSteps(clock))  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
        with suppress(Measured):
            trainer.fit(module, datamodule=data)
    return clock.result(batch)


def _by_hand(check: Check, model: str, batch: int, images: Examples) -> dict[str, Any]:
    """Time the same network in a loop that does nothing but train it: no metric, no log, no validation."""
    device = check.device
    torch.manual_seed(0)
    job = _job(check, model, batch, Setting())
    module: Any = make_model(job, make_encoder(job), outputs=10).to(device)
    autoencoder = model == "autoencoder"
    first, second = module.encoder, module.decoder if autoencoder else module.head
    optimizer = torch.optim.AdamW(chain(first.parameters(), second.parameters()), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100_000)

    @torch.compile
    def loss_of(raw: Tensor, labels: Tensor) -> Tensor:
        inputs = raw.to(torch.float32, memory_format=torch.channels_last) / 255
        with torch.autocast(device.type, torch.bfloat16):
            outputs = second(first(inputs))
        if autoencoder:
            return F.mse_loss(outputs.float().sigmoid(), inputs)
        return F.cross_entropy(outputs.float(), labels)

    raw, labels = images.inputs.to(device), images.labels.to(device)
    clock = Clock(check.form, device)
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        while True:
            for rows in torch.randperm(len(raw), device=device).split(batch):
                if len(rows) < batch:
                    continue
                loss = loss_of(raw[rows], labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                if clock.step():
                    return clock.result(batch)


def _show_speed(stage: dict[str, Any]) -> Iterator[str]:
    yield "By hand: torch.compile, bf16 autocast, fused AdamW, channels_last, data on the device, nothing but steps.\n"

    def cells(row: dict[str, Any]) -> list[Any]:
        setting = row["setting"]
        if setting is None:
            words = ["by hand", "bf16", "yes", "yes", "resident"]
        else:
            where = "streamed" if setting["streamed"] else "resident"
            words = [
                "train",
                setting["precision"],
                *("yes" if setting[key] else "no" for key in ("compile", "channels_last")),
            ]
            words.append(f"{where}, crop + flip" if setting["augmented"] else where)
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3f}"
        peak = "" if row["peak_mb"] is None else f"{row['peak_mb']:,.0f}"
        numbers = [f"{row['images_per_second']:,.0f}", ratio, peak, f"{row['warm_up_seconds']:.1f}"]
        return [row["model"], row["batch"], *words, *numbers]

    columns = ["model", "batch", "loop", "precision", "compile", "channels_last", "data"]
    columns += ["images/s", "ratio to by hand", "peak memory, MB", "first steps, s"]
    yield from _table(
        columns, [cells(row) for row in sorted(stage["rows"], key=lambda row: (row["model"], row["batch"]))]
    )
    for error in stage.get("errors", ()):
        yield f"\n**Failed:** {error}"
    if left_out := stage.get("left_out"):
        yield f"\nNo time was left for {len(left_out)} rows, which the JSON file names."


# -- the table ---------------------------------------------------------------------------------------------------------


STAGES: dict[str, Callable[[Check, dict[str, Any]], None]] = {
    "quickstart": quickstart,
    "resume": resumed,
    "speed": speed,
}
SHOW = {"quickstart": _show_quickstart, "resume": _show_resumed, "speed": _show_speed}


def _facts(check: Check) -> dict[str, Any]:
    """Say what was measured on, and when."""
    known = provenance(())
    gpu = check.accelerator == "gpu"
    return {
        "device": torch.cuda.get_device_name() if gpu else "CPU",
        "driver": _driver() if gpu else None,
        "cuda": torch.version.cuda if gpu else None,
        "cpus": known["hardware"]["cpus"],
        "versions": known["versions"],
        "commit": known["git"],
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": sys.argv,
    }


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def _write(output: Path, facts: dict[str, Any], report: dict[str, dict[str, Any]]) -> None:
    replace_file(output.with_suffix(".json"), json.dumps({**facts, "stages": report}, indent=1) + "\n")
    replace_file(output.with_suffix(".md"), "\n".join(_markdown(facts, report)) + "\n")


def _markdown(facts: dict[str, Any], report: dict[str, dict[str, Any]]) -> Iterator[str]:
    git = facts["commit"]
    commit = "of no known commit" if git is None else f"{git['commit'][:10]}{' with changes' if git['dirty'] else ''}"
    yield f"# {facts['device']}\n"
    driver = f"driver {facts['driver']}, CUDA {facts['cuda']}, " if facts["driver"] else ""
    yield f"{facts['date']}, {commit}, {driver}{facts['cpus']} CPU cores,"
    yield ", ".join(f"{name} {version}" for name, version in facts["versions"].items()) + "."
    for name, stage in report.items():
        took = f", {stage['seconds']} s" if "seconds" in stage else ""
        yield f"\n## {name}: {stage['status']}{took}{': ' + stage['why'] if 'why' in stage else ''}\n"
        if stage["rows"] or stage.get("errors"):
            yield from SHOW[name](stage)


def _table(columns: list[Any], rows: list[list[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(map(str, columns))} |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


if __name__ == "__main__":
    main()
