"""What a run shows in TensorBoard, and as files beside it: read back as TensorBoard reads it."""

import csv
import io
import json
import math
import textwrap
from collections import Counter

import numpy as np
import pytest
import yaml
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from aetransfer import predict
from aetransfer.data.module import DataModule
from aetransfer.training import stages
from tests.integration.conftest import TINY, TINY_PRETRAINING, job_of

SHOWN = ("logger=tensorboard", "callbacks=default", "trainer.log_every_n_steps=1")
PRETRAINING = (*TINY_PRETRAINING, *SHOWN, "trainer.limit_train_batches=3")
TRANSFER = (*TINY, *SHOWN)
SECRET = "hunter2-and-more"


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A finished VAE of three epochs, pictures at the first, second and last of them."""
    return made(tmp_path_factory, *PRETRAINING, "model=vae", "trainer.max_epochs=3",
                *(f"callbacks.{name}.every_n_epochs=2" for name in ("reconstructions", "traversals", "interpolations")))  # fmt: skip


@pytest.fixture(scope="module")
def transfer(tmp_path_factory):
    return made(tmp_path_factory, *TRANSFER, "transfer=finetune", "callbacks.embeddings.images=50")


def made(tmp_path_factory, *words):
    words = [*words, f"paths.output_dir={tmp_path_factory.mktemp('store')}"]
    return stages.run(job_of(*words), words).directory.path


def events(run):
    return EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0, "tensors": 0}).Reload()


def scalar_tags(run):
    return set(events(run).Tags()["scalars"])


def text(run, tag):
    shown = [each.tensor_proto.string_val[0].decode() for each in events(run).Tensors(tag)]
    return [textwrap.dedent(each) for each in shown]


def layout(run):
    (event, *again) = events(run).Tensors("custom_scalars__config__")
    assert not again
    return Layout.FromString(event.tensor_proto.string_val[0])


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def projected(run):
    """What the projector is told: codes, the rows of the table beside them, thumbnails and their side."""
    config = text_format.Parse((run / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (embedding,) = config.embeddings
    codes = np.loadtxt(run / embedding.tensor_path, delimiter="\t")
    with (run / embedding.metadata_path).open(newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert list(embedding.tensor_shape) == list(codes.shape)
    return codes, rows, pixels(run / embedding.sprite.image_path), list(embedding.sprite.single_image_dim)


@pytest.mark.short
def test_scalars_stand_in_groups_of_what_they_belong_to(vae, transfer):
    common = {
        *("watch/optimizer/gradient_norm", "watch/optimizer/lr/encoder"),
        *("watch/system/images_per_second", "watch/system/ram_gb"),
    }

    assert common | {"train/neg_elbo", "val/neg_elbo", "test/neg_elbo", "train/rate", "val/rate"} <= scalar_tags(vae)
    assert common | {"train/acc", "val/acc", "test/acc", "train/nll", "val/nll"} <= scalar_tags(transfer)
    groups = {tag.split("/")[0] for tag in scalar_tags(vae) | scalar_tags(transfer)}
    assert groups == {"train", "val", "test", "watch"}


def test_metrics_come_before_pictures_and_what_is_watched(vae):
    """TensorBoard shows tags in the order of their letters."""
    tags = events(vae).Tags()
    groups = sorted({tag.split("/")[0] for tag in (*tags["scalars"], *tags["images"])})

    assert groups == ["test", "train", "val", "view", "watch"]


def test_the_curve_of_training_is_the_mean_since_the_last_validation(vae):
    """That of the history, which test_own_models.py computes from single batches."""
    rows = json.loads((vae / "history.json").read_text())
    shown = events(vae).Scalars("train/neg_elbo")

    assert [event.step for event in shown] == [2, 5, 8]
    assert [event.value for event in shown] == pytest.approx([row["train/neg_elbo"] for row in rows])


def test_scalars_of_a_step_cost_nothing_at_steps_that_are_not_kept(run_train):
    done = run_train(*PRETRAINING, "model=ae", "trainer.max_epochs=3", "trainer.log_every_n_steps=2")

    for tag in ("watch/optimizer/gradient_norm", "watch/system/ram_gb"):
        assert [event.step for event in events(done.run).Scalars(tag)] == [1, 3, 5, 7]


@pytest.mark.parametrize(("kind", "pairs"), [("vae", ("neg_elbo", "distortion", "rate")), ("transfer", ("nll", "acc"))])
def test_a_chart_holds_training_and_validation_of_one_quantity(request, kind, pairs):
    run = request.getfixturevalue(kind)
    ((category),) = layout(run).category
    charts = {chart.title: list(chart.multiline.tag) for chart in category.chart}

    assert charts == {name: [f"train/{name}", f"val/{name}"] for name in pairs}
    assert {tag for tags in charts.values() for tag in tags} <= scalar_tags(run)


def test_the_text_tab_holds_config_and_command_without_secrets(run_train, monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_API_KEY", SECRET)
    done = run_train(*PRETRAINING, "model=ae", f"paths.cache_dir={tmp_path}/{SECRET}/cache")
    (config,), (command,) = text(done.run, "run/config"), text(done.run, "run/command")

    assert yaml.safe_load(config) == yaml.safe_load((done.run / "config.yaml").read_text())
    assert yaml.safe_load(config)["encoder"]["latent_dim"] == 8
    assert command.startswith("python -m aetransfer.train data=digits 'encoder.widths=[4,8,8,8]'")
    assert "/***/cache" in command
    assert SECRET not in config + command
    assert not any(SECRET.encode() in path.read_bytes() for path in done.run.glob("events.*"))


def test_a_vae_shows_its_pictures_at_the_first_each_nth_and_the_last_epoch(vae):
    shown = events(vae)

    for tag in ("view/reconstructions/val", "view/latents/traversals", "view/latents/interpolations"):
        assert [event.step for event in shown.Images(tag)] == [2, 5, 8]
    assert [event.step for event in shown.Images("view/latents/prior_samples")] == [2, 8]  # every 5 epochs
    assert [event.step for event in shown.Images("view/reconstructions/test")] == [9]
    assert [event.step for event in shown.Scalars("val/neg_elbo")] == [2, 5, 8]


@pytest.mark.parametrize(("name", "tag"), [("reconstructions", "view/reconstructions/val"), ("traversals", "view/latents/traversals"),
                                           ("reconstructions_test", "view/reconstructions/test")])  # fmt: skip
def test_the_run_directory_holds_the_last_of_each_picture(vae, name, tag):
    newest = events(vae).Images(tag)[-1]

    assert np.array_equal(pixels(vae / f"{name}.png"), pixels(io.BytesIO(newest.encoded_image_string)))


def test_test_images_are_first_read_when_all_is_chosen(run_train, monkeypatch):
    order = []
    opened, validated = DataModule._open, DataModule.val_dataloader
    monkeypatch.setattr(DataModule, "_open", lambda self, split: (order.append(split), opened(self, split))[1])
    monkeypatch.setattr(DataModule, "val_dataloader", lambda self: (order.append("val"), validated(self))[1])
    done = run_train(*PRETRAINING, "model=vae")

    assert (done.run / "reconstructions_test.png").is_file()
    assert order.index("test") > len(order) - 1 - order[::-1].index("val")


@pytest.mark.parametrize("arm", [pytest.param("frozen", marks=pytest.mark.slow), "finetune"])
def test_filters_stand_beside_what_was_carried(run_train, arm):
    done = run_train(*TRANSFER, f"transfer={arm}", "optimizer.lr=0.01")
    picture = pixels(done.run / "first_layer.png")[16:].astype(int)
    carried, learnt = np.split(picture[:, : picture.shape[1] // 2 * 2], 2, axis=1)

    # Filters of one channel that were carried to three stay grey until they are trained.
    assert np.array_equal(carried[..., 0], carried[..., 1])
    assert np.array_equal(carried, learnt) == (arm == "frozen")
    assert [event.step for event in events(done.run).Images("view/first_layer")] == [6]


def test_mistakes_are_the_surest_wrong_answers_with_the_names_of_their_classes(transfer, command, tmp_path):
    mistakes = json.loads((transfer / "mistakes.json").read_text())
    command(predict.main, f"run={transfer}", "data=photo_digits", f"out={tmp_path}/p.csv")
    with (tmp_path / "p.csv").open(newline="") as file:
        answers = list(csv.DictReader(file))
    wrong = [place for place, row in enumerate(answers) if row["predicted"] != row["label"]]
    surest = sorted(wrong, key=lambda place: -float(answers[place]["probability"]))[:32]

    assert [mistake["image"] for mistake in mistakes] == surest
    for mistake in mistakes:
        row = answers[mistake["image"]]
        assert (mistake["label"], mistake["taken_for"]) == (row["label"], row["predicted"])
        assert mistake["confidence"] == pytest.approx(float(row["probability"]), abs=1e-5)
    assert events(transfer).Images("view/mistakes")[0].step == 6


def test_the_projector_has_a_class_and_a_thumbnail_for_each_code(vae, transfer):
    codes, classes, sprite, side = projected(vae)
    assert codes.shape == (360, 8)
    assert len(classes) == 360  # one column, which has no head
    assert Counter(name for (name,) in classes).keys() == set("0123456789")
    assert side == [32, 32]
    assert sprite.shape == (math.ceil(math.sqrt(360)) * 32,) * 2 + (3,)

    codes, (head, *rows), sprite, side = projected(transfer)
    assert codes.shape == (50, 8)
    assert head == ["class", "taken for", "is"]
    assert len(rows) == 50
    assert all((name == taken_for) == (verdict == "right") for name, taken_for, verdict in rows)
    assert sprite.shape == (8 * 32, 8 * 32, 3)


def test_a_thumbnail_is_the_image_whose_code_stands_in_its_row(vae):
    codes, _, sprite, _ = projected(vae)
    job = job_of(*PRETRAINING, "model=vae")
    data = stages.make_data(job.data, job.seed, [])
    data.setup("test")
    images = data.first_inputs("test", 360)

    encoder = stages.make_encoder(job)
    encoder.load_state_dict(stages.read_state(str(vae)))
    assert np.allclose(encoder.eval()(images).detach(), codes, rtol=1e-3, atol=1e-4)
    row, column = divmod(123, 19)
    thumbnail = sprite[row * 32 : (row + 1) * 32, column * 32 : (column + 1) * 32, 0]
    assert np.array_equal(thumbnail, (images[123, 0] * 255).round().numpy())


def test_without_tensorboard_pictures_are_files_and_scalars_go_to_the_logger_there_is(run_train):
    done = run_train(*PRETRAINING, "model=vae", "logger=csv")

    names = {path.stem for path in done.run.glob("*.png")}
    assert names == {"reconstructions", "reconstructions_test", "prior_samples", "interpolations", "traversals",
                     "first_layer"}  # fmt: skip
    assert not (done.run / "projector").exists()
    assert not list(done.run.glob("events.*"))
    assert "optimizer/gradient_norm" in (done.run / "metrics.csv").read_text()
