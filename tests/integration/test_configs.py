"""What ships under configs/: each experiment can be built, each promise has its command and figures."""

import importlib
import inspect
import re
import shutil

import pytest

from aetransfer.config.choices import with_source_chosen
from aetransfer.config.compose import checked, composed
from aetransfer.config.instantiate import locate
from aetransfer.config.overrides import read, read_words
from aetransfer.config.plugins import config_directory
from aetransfer.config.schema import Job
from aetransfer.config.signatures import declared
from aetransfer.training.build import make_data, make_encoder, make_model
from aetransfer.transfer.resolve import pretraining_of
from tests.integration.conftest import TINY, job_of
from tests.made import write_class_folder, write_idx

EXPERIMENTS = sorted(path.stem for path in (config_directory() / "experiment").glob("*.yaml"))
LOGGERS = sorted(path.stem for path in (config_directory() / "logger").glob("*.yaml"))
TARGETS = sorted(
    {
        target
        for path in config_directory().rglob("*.yaml")
        for target in re.findall(r"^ *_target_: (\S+)", path.read_text(), re.M)
    }
)


# What one input is of the sets that say it themselves.
FOUND = {
    "ACSF1": (1, 512), "PLAID": (1, 512), "Tecator": (1, 100), "JapaneseVowels": (12, 32), "watch": (6, 200), "watch_windows": (6, 200),
    "bands": (12, 24, 40), "medmnist": (1, 28, 28), "diabetes": (10,), "breast_cancer": (30,),
}  # fmt: skip


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_composed_and_instantiated(experiment):
    job = job_of(f"experiment={experiment}")
    jobs = [job] if job.stage == "pretrain" else [job, pretraining_of(job)]
    for stage in jobs:
        data = stage.data
        if data.input_shape is None:
            data = data.model_copy(update={"shape": list(FOUND[data.name]), "floats": data.name != "medmnist"})
            stage = stage.model_copy(update={"data": data})
        make_data(data, stage.seed, stage.allow)
        model = make_model(stage, make_encoder(stage), outputs=10)
        assert sum(parameter.numel() for parameter in model.parameters()) > (100_000 if data.stated else 1_000)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_says_its_command_cost_and_expected_numbers(experiment):
    lines = (config_directory() / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    head = "\n".join(line for line in lines if line.startswith("#"))

    assert "aetransfer.train" in head or "make quickstart" in head
    assert "CPU cores" in head
    assert "±" in head or "nats" in head


ODD_PATHS = [
    "./somewhere",
    "~/run",
    "/tmp/Präsenz/run (2)",
    "./seed=1/run",
    "./it's",
    'so "called"/run',
    "./a#b/[c]{d}",
]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_the_main_experiment_takes_the_encoder_of_a_finished_run_wherever_it_lies(path):
    words = ["experiment=mnist_to_cifar10", *with_source_chosen(f"pretrain={path}")]

    assert checked(composed("train", words), Job).pretrain.path == path


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("./a,./b c (1)", ["./a", "./b c (1)"]),
        ("'./a (b)',./c", ["./a (b)", "./c"]),
        ("choice(./a,./b)", ["./a", "./b"]),
    ],
)
def test_paths_are_swept_over_quoted_or_not(value, paths):
    jobs = read(read_words("train", ["-m", f"pretrain={value}"])).jobs
    assert [composed("train", job).pretrain.path for job in jobs] == paths


@pytest.mark.parametrize("name", ["it's mine", "Präsenz (2)", "a=b"])
def test_config_files_are_found_in_a_folder_of_any_name(write_config, tmp_path, run_train, name):
    _, folder = write_config(**{"experiment/mine": "# @package _global_\nseed: 77\n"})
    folder = shutil.move(folder, tmp_path / name)

    assert composed("train", ["experiment=mine"], str(folder)).seed == 77
    done = run_train("--config-dir", str(folder), "--identity", *TINY, "experiment=mine", "transfer=scratch")
    assert "-s77-" in done.out


def test_images_below_the_home_directory_are_found_and_decoded_there(tmp_path, monkeypatch):
    write_idx(tmp_path / "images" / "MNIST" / "raw")
    for split in ("train", "test"):
        write_class_folder(tmp_path / "images" / "cifar10" / split, {"cat": 3, "dog": 3}, size=32)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AETRANSFER_DATA_DIR", "~/images")

    for name, count in (("mnist", 20), ("cifar10", 6)):
        job = job_of(f"data={name}", "model=ae")
        assert len(make_data(job.data, job.seed, job.allow).reader(split="train")) == count
    assert list((tmp_path / "images" / ".cache").glob("cifar10-train-*.npy"))


@pytest.mark.parametrize("logger", LOGGERS)
def test_every_logger_names_a_class_that_exists(logger):
    for node in checked(composed("train", [f"logger={logger}"]), Job).logger.values():
        assert locate(node.target, "logger")


def test_mlflow_writes_a_database_into_the_store_unless_a_server_is_named(monkeypatch):
    words = ["logger=mlflow", "paths.output_dir=/store"]
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert composed("train", words).logger.mlflow.tracking_uri == "sqlite:////store/mlflow.db"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert composed("train", words).logger.mlflow.tracking_uri == "http://localhost:5000"


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_source_says_that_a_target_takes_is_what_it_takes(target):
    module, _, name = target.rpartition(".")
    signature = inspect.signature(getattr(importlib.import_module(module), name))

    assert [(each.name, each.kind, each.default is each.empty) for each in signature.parameters.values()] == [
        (each.name, each.kind, each.default is each.empty) for each in declared(target).signature.parameters.values()
    ]


@pytest.mark.parametrize("data", sorted(path.stem for path in (config_directory() / "data").glob("[a-z]*.yaml")))
def test_every_data_set_can_be_source_and_target(data):
    own = {
        "arrays": ["root"],
        "image_folder": ["root"],
        "image_table": ["root", "table", "inputs"],
        "timeseries": ["root", "table"],
    }
    given = [f"{of}.{key}=mine" for of in ("data", "pretrain.data") for key in own.get(data, [])]
    job = job_of(f"data={data}", f"data@pretrain.data={data}", *given)

    assert job.data.name == job.pretrain.data.name == ("mine" if data == "timeseries" else data)


@pytest.mark.parametrize("trainer", ["auto", "cpu", "gpu", "mps", "ddp", "fsdp", "ddp_sim"])
def test_every_trainer_is_chosen_by_override_alone(trainer):
    assert job_of(f"trainer={trainer}").trainer.max_epochs == 20


def test_fast_dev_run_goes_the_whole_way_in_two_batches(run_train):
    done = run_train("debug=fast_dev_run", *TINY[:4])

    assert done.result["counts"]["steps"] == 2


@pytest.mark.slow
def test_overfit_learns_its_images_by_heart(run_train):
    done = run_train("debug=overfit", "experiment=quickstart", "transfer=scratch", "data.labels_per_class=2",
                     "trainer.max_epochs=60", "logger=csv", "encoder.widths=[16,16,16]", "callbacks=none",
                     "trainer.log_every_n_steps=1", "optimizer.weight_decay=0")  # fmt: skip

    rows = [line for line in (done.run / "metrics.csv").read_text().splitlines() if line]
    column = rows[0].split(",").index("train/nll")
    losses = [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]
    assert losses[-1] < 0.05 < losses[0]


@pytest.mark.slow
def test_the_profiler_reports(run_train):
    done = run_train("debug=profiler", *TINY, "trainer.max_epochs=1", "transfer=scratch")

    assert "run_training_batch" in (done.run / "fit-profile.txt").read_text()
