"""Whole commands, in this process: what a user types is what a test says."""

import json
import logging
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import load_file

from aetransfer import evaluate, train
from aetransfer.config.choices import with_source_chosen
from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.training import stages
from aetransfer.training.callbacks.progress import Throughput
from aetransfer.transfer.resolve import resolve
from tests.commands import TorchlessProcess
from tests.faults import FaultyProcesses
from tests.project import unpacked_wheel

# A few batches of the embedded digits: the whole way in a second or two.
TINY = (
    *("data=photo_digits", "data@pretrain.data=digits", "encoder.widths=[4,8,8,8]", "encoder.latent_dim=8"),
    *("pretrain.trainer.max_epochs=1", "pretrain.trainer.limit_train_batches=3", "trainer.max_epochs=2"),
    *("trainer.limit_train_batches=3", "logger=none", "callbacks=none"),
)
TINY_PRETRAINING = ("data=digits", "encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", "trainer.max_epochs=2")

# As sentences name them.
DATA_SETS = (
    "arrays, breast_cancer, cifar10, cifar100, diabetes, digits, fashion_mnist, image_folder, image_table, mnist, "
    "mnist1d, photo_digits, timeseries"
)
ALLOWED = {"encoder": "aetransfer.networks", "reader": "aetransfer.data"}


CONV4 = ("widths", "hidden", "kernel_size", "batch_norm", "init")


def with_encoder(name, *words):
    """The same words for an encoder of tests.made, which takes nothing of the default one's but the bottleneck's size."""
    kept = [word for word in words if not word.startswith(tuple(f"encoder.{key}=" for key in CONV4))]
    return *kept, f"encoder._target_=tests.made.{name}", "allow=[tests]", *(f"~encoder.{key}" for key in CONV4)


def job_of(*overrides):
    words = [part for word in overrides for part in with_source_chosen(word)]
    return resolve(checked(composed("train", words), Job), words)


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code, what it printed, and the run it named last."""

    code: int
    out: str
    err: str

    @property
    def run(self) -> Path:
        last = self.out.strip().splitlines()[-1]
        assert last.startswith("run: "), last
        return Path(last.removeprefix("run: "))

    @property
    def result(self) -> dict:
        return json.loads((self.run / "result.json").read_text())

    @property
    def encoder(self) -> dict:
        return load_file(self.run / "encoder.safetensors")


@pytest.fixture
def command(monkeypatch, capfd):
    """Run an entry point with words as its command line."""

    def call(main, *words):
        monkeypatch.setattr(sys, "argv", [main.__module__, *words])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
        logging.getLogger().handlers.clear()  # they write to this test's captured output
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture
def run_train(command):
    return lambda *words: command(train.main, *words)


@pytest.fixture
def run_evaluate(command):
    return lambda *words: command(evaluate.main, *words)


@pytest.fixture
def interrupted_at(monkeypatch):
    """Let Ctrl-C arrive after a training step, while the returned context is open."""

    @contextmanager
    def cut(step):
        original = Throughput.on_train_batch_end

        def stop(self, trainer, *rest):
            original(self, trainer, *rest)
            if trainer.global_step == step:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Throughput, "on_train_batch_end", stop)
            yield

    return cut


def assert_refused(done, sentence):
    """One line, one period, no traceback, exit code 1."""
    assert done.err == f"error: {sentence}\n"
    assert done.code == 1
    assert_is_one_sentence(done.err)


def assert_is_one_sentence(err):
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert err.endswith(".\n") and not err.endswith("..\n")
    assert not {part for part in ("?.", "?:", "::", "Traceback") if part in err}


@pytest.fixture(scope="module")
def torchless(tmp_path_factory):
    with TorchlessProcess(tmp_path_factory.mktemp("cwd")) as process:
        yield process


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    processes = FaultyProcesses(tmp_path_factory.mktemp("faulty"))
    yield processes
    processes.close()


@pytest.fixture
def write_config(tmp_path):
    """Write config files by name; returns the words that make them known."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / "configs" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return "--config-dir", str(tmp_path / "configs")

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished transfer's directory, with the pretraining it carried in the same store; nobody changes them."""
    words = [*TINY, "transfer=finetune", "seed=1", f"paths.output_dir={tmp_path_factory.mktemp('store')}"]
    return stages.run(job_of(*words), words).directory.path


@pytest.fixture(scope="session")
def finished_pretraining(finished):
    return Path(json.loads((finished / "result.json").read_text())["source"])


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Where the wheel is installed, away from the checkout."""
    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))
