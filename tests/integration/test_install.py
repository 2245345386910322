"""What is installed: a wheel that brings its configs, and processes that each know their own run."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS = PROJECT["scripts"]


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_console_script_calls_what_python_m_calls(name):
    command = f"aetransfer.{name.removeprefix('aetransfer-')}"
    module = f"{command}.__main__" if hasattr(resolve_name(command), "__path__") else command
    (script,) = entry_points(group="console_scripts", name=name)

    assert script.value == SCRIPTS[name]
    assert script.load() is resolve_name(f"{module}:main")


def test_a_console_script_answers_like_its_command(tmp_path):
    script = Path(sysconfig.get_path("scripts"), "aetransfer-train")
    done = subprocess.run([script, "sed=1"], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr == "error: sed is no config key or group (did you mean seed).\n"


@pytest.mark.slow
def test_a_wheel_of_the_source_distribution_finds_its_configs_away_from_the_checkout(tmp_path):
    # The source distribution, and the wheel out of it.
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    assert [path.name for path in tmp_path.glob("*.tar.gz")] == [f"aetransfer-{PROJECT['version']}.tar.gz"]
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    # A wheel is a zip of what goes into site-packages; unpacking it is what installing does, without dependencies.
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)

    show = [sys.executable, "-m", "aetransfer.train", "experiment=mnist_vae", "--cfg", "job"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    shown = subprocess.run(show, cwd=tmp_path, env=environment, capture_output=True, text=True)
    where = [sys.executable, "-c", "from aetransfer.config.plugins import config_directory; print(config_directory())"]
    directory = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True)
    plugins = [sys.executable, "-m", "aetransfer.train", "--info", "plugins"]
    found = subprocess.run(plugins, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert {"SearchSweeper", "LocalLauncher", "SlurmLauncher"} <= set(found.stdout.split())
    assert (site / "hydra_plugins" / "aetransfer_sweepers.py").is_file()
    assert shown.returncode == 0, shown.stderr
    assert "likelihood: bernoulli" in shown.stdout
    assert directory.stdout.strip() == str(site / "aetransfer" / "configs")


@pytest.mark.slow
def test_two_processes_train_one_run_and_count_each_image_once(tmp_path):
    words = ["data=photo_digits", "data@pretrain.data=digits", "encoder.widths=[4,8,8,8]", "encoder.latent_dim=8"]
    words += ["pretrain.trainer.max_epochs=1", "trainer.max_epochs=1", "logger=none", "transfer=frozen"]
    environment = {**os.environ, "AETRANSFER_OUTPUT_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    train = [sys.executable, "-m", "aetransfer.train", "trainer=ddp_sim", *words]
    done = subprocess.run(train, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = done.stdout.strip().splitlines()[-1].removeprefix("run: ")

    # One process over the whole test split: an image counted twice or left out would show.
    again = [sys.executable, "-m", "aetransfer.evaluate", f"run={run}"]
    alone = subprocess.run(again, cwd=tmp_path, env=environment, capture_output=True, text=True)

    def accuracy(text):
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("test/acc"))

    assert accuracy(done.stdout) == pytest.approx(accuracy(alone.stdout), abs=1e-6)
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "runs").glob("[!.]*")) == ["pretrain", "transfer"]
