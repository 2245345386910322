"""`aetransfer.compose`, `run` and `sweep`: what the commands do, with values for lines and exceptions for exits."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import aetransfer
from aetransfer import signals
from tests.integration.conftest import TINY, TINY_PRETRAINING
from tests.plugin import installed, write_plugin

SHORT = (*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=3", "logger=none", "callbacks=none")


def written(path):
    return yaml.safe_load((path / "config.yaml").read_text())


def test_a_run_is_that_of_the_command(run_train, monkeypatch, tmp_path):
    done = run_train(*TINY, "transfer=frozen")

    found = aetransfer.run([*TINY, "transfer=frozen"])
    assert found.path.samefile(done.run)
    assert found.metrics == done.result["metrics"]

    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "others"))
    again = aetransfer.run([*TINY, "transfer=frozen"])
    assert again.path == tmp_path / "others" / "runs" / done.run.name
    assert again.metrics == done.result["metrics"]
    assert OmegaConf.to_container(again.config) == written(again.path)
    assert again.source is not None and again.source.name == Path(done.result["source"]).name
    assert aetransfer.load_encoder(again.path).latent_dim == 8


def test_its_command_can_be_given_on_a_command_line(command):
    run = aetransfer.run(SHORT)

    result = json.loads((run.path / "result.json").read_text())
    assert result["command"] == ["aetransfer-train", *SHORT]
    assert result["overrides"] == list(SHORT)


def test_what_is_composed_is_what_a_run_writes_down():
    config = aetransfer.compose([*TINY, "transfer=frozen"])

    assert config.encoder.latent_dim == 8
    assert not Path(os.environ["AETRANSFER_OUTPUT_DIR"]).exists()
    assert OmegaConf.to_container(config) == written(aetransfer.run([*TINY, "transfer=frozen"]).path)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model=vea"], "model=vea is no choice of model (did you mean vae): there are "),
        (["encoder.latent_dm=3"], "encoder.latent_dm is no config key or group (did you mean encoder.latent_dim)."),
        (
            ["model=ae", "transfer=frozen"],
            "model=ae is a pretraining, so transfer=frozen has no meaning: leave it out.",
        ),
        (["trainer.max_epochs=x"], "trainer.max_epochs=x should be "),
        (["model=ae,vae"], "model=ae,vae is a sweep over several values"),
        (["model=x=y["], "model=x=y[ is no override"),
        (["-m", "model=ae"], "-m is no override: leave it out (config_dir= is for --config-dir, sweep for -m)."),
        ("model=ae", "The overrides should be a list of texts, such as ['experiment=quickstart', 'seed=1']."),
        (["encoder._target_=os.system"], "_target_: os.system is outside the packages that the encoder "),
    ],
)
@pytest.mark.parametrize("call", [aetransfer.compose, aetransfer.run])
def test_what_is_wrong_is_raised_as_the_command_says_it(call, overrides, sentence, capfd):
    with pytest.raises(aetransfer.UserError) as raised:
        call(overrides)

    assert str(raised.value).startswith(sentence)
    assert str(raised.value).endswith(".") and "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(aetransfer.UserError, match=r"--config-dir .*missing is no folder"):
        aetransfer.run(SHORT, config_dir=tmp_path / "missing")


def test_config_files_of_ones_own_are_found(write_config):
    _, folder = write_config(**{"experiment/mine": "# @package _global_\nseed: 77\n"})

    assert aetransfer.compose(["experiment=mine"], config_dir=folder).seed == 77


def test_neither_import_nor_a_mistake_waits_for_torch():
    script = (
        "import sys, aetransfer\n"
        "assert 'hydra' not in sys.modules\n"
        "try: aetransfer.run(['model=vea'])\n"
        "except aetransfer.UserError: print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("False\n", "")


def state():
    handlers = {each: signal.getsignal(each) for each in signals.SIGNALS}
    loggers = {name: logging.getLogger(name).level for name in ("root", "aetransfer", "hydra")}
    return sys.argv, dict(os.environ), Path.cwd(), handlers, logging.getLogger().handlers[:], loggers


@pytest.mark.parametrize("overrides", [SHORT, ["model=vea"]], ids=["a run", "a mistake"])
def test_the_process_is_left_as_it_was(tmp_path, overrides):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "mine.yaml").write_text("x: 1\n")
    log = logging.FileHandler(tmp_path / "mine.log", mode="w")
    logging.getLogger().addHandler(log)
    try:
        with hydra.initialize_config_dir(str(tmp_path / "theirs"), version_base="1.2"):
            before = state()
            for _ in range(2):
                try:
                    aetransfer.run(overrides)
                except aetransfer.UserError:
                    assert overrides == ["model=vea"]
            assert state() == before
            assert hydra.compose("mine").x == 1
            logging.getLogger().error("still here")
        assert not GlobalHydra.instance().is_initialized()
    finally:
        logging.getLogger().removeHandler(log)
        log.close()
    assert "still here" in (tmp_path / "mine.log").read_text()


def test_it_works_where_an_event_loop_runs_as_in_a_notebook():
    async def cell():
        return aetransfer.run(SHORT)

    assert asyncio.run(cell()).metrics.keys() == {"val/mse", "test/mse"}


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_the_same_call_goes_on_with(interrupted_at, monkeypatch, tmp_path):
    with interrupted_at(4), pytest.raises(KeyboardInterrupt, match="The same call goes on where it stopped"):
        aetransfer.run(SHORT)
    (cut,) = Path(os.environ["AETRANSFER_OUTPUT_DIR"], "runs").glob("[!.]*")
    assert json.loads((cut / "result.json").read_text())["status"] == "interrupted"

    resumed = aetransfer.run(SHORT)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "whole"))
    whole = aetransfer.run(SHORT)

    assert resumed.path.samefile(cut)
    assert resumed.metrics == whole.metrics
    assert (resumed.path / "encoder.safetensors").read_bytes() == (whole.path / "encoder.safetensors").read_bytes()


def test_a_second_ctrl_c_ends_no_process_of_somebody_elses():
    with pytest.raises(KeyboardInterrupt), signals.heeded(None), signals.deferred():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one was not heeded")


@pytest.mark.slow
def test_a_sweep_gives_the_jobs_in_order_and_the_report(run_train, tmp_path, monkeypatch):
    words = [*TINY, "transfer=scratch,frozen", "seed=0,1"]
    sweep = aetransfer.sweep(words)

    assert [job.overrides[-2:] for job in sweep.jobs] == [
        [f"transfer={arm}", f"seed={seed}"] for arm in ("scratch", "frozen") for seed in (0, 1)
    ]
    assert [job.error for job in sweep.jobs] == [None] * 4
    table = sweep.table().query("metric == 'test/acc' and stage == 'transfer'").set_index("transfer")
    measured = [job.run.metrics["test/acc"] for job in sweep.jobs]
    assert table.loc["scratch", "mean"] == pytest.approx(sum(measured[:2]) / 2)
    assert (sweep.path / "report" / "index.html").is_file()

    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "others"))
    done = run_train("-m", *words)
    assert done.code == 0
    names = sorted(path.name for path in (tmp_path / "others" / "runs").glob("transfer-*"))
    assert sorted(run.path.name for run in sweep.runs) == names
    for run in sweep.runs:
        theirs = json.loads((tmp_path / "others" / "runs" / run.path.name / "result.json").read_text())
        assert theirs["metrics"] == run.metrics


def test_a_job_that_fails_stops_no_other_and_says_why(tmp_path, capfd):
    sweep = aetransfer.sweep([*SHORT[1:], "data=mnist,digits"])

    lost, done = sweep.jobs
    assert lost.run is None and "MNIST" in lost.error
    assert sweep.runs == [done.run] and done.error is None


def test_a_sweep_with_a_mistake_begins_no_job():
    with pytest.raises(aetransfer.UserError, match="did you mean vae"):
        aetransfer.sweep(["model=ae,vea"])
    assert not Path(os.environ["AETRANSFER_OUTPUT_DIR"]).exists()


@pytest.mark.slow
def test_a_search_gives_its_trials():
    sweep = aetransfer.sweep([*TINY, "transfer=scratch", "sweep=tune", "sweep.trials=2"])

    assert len(sweep.runs) == len(sweep.jobs) == 2
    with pytest.raises(aetransfer.UserError, match="a search has no report"):
        sweep.table()


@pytest.mark.slow
def test_a_run_on_two_devices_starts_its_processes_itself():
    run = aetransfer.run([*SHORT, "trainer=cpu", "trainer.devices=2"])

    assert json.loads((run.path / "result.json").read_text())["counts"]["processes"] == 2


def test_several_processes_of_one_script_are_refused(monkeypatch):
    environment = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    for name, value in (environment | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(aetransfer.UserError, match="torchrun has started 2 of this script"):
        aetransfer.run(SHORT)


def test_a_plugins_options_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with installed(write_plugin(tmp_path / "site")):
        assert aetransfer.compose(["experiment=my_exp"]).model.name == "noisy"
        assert aetransfer.run(["experiment=my_exp"]).path.name.startswith("pretrain-digits-noisy")
        with pytest.raises(aetransfer.UserError, match="is of the plugin my_lab"):
            aetransfer.compose(["model._target_=my_lab.model.Noisy"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_works_as_printed(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "from_python.md").read_text()
    script = page.partition("```python\n")[2].partition("```")[0]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "scratch" in done.stdout
