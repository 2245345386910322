"""The data module: what it reads when, what it counts and measures, and which batches it hands a Trainer."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aetransfer.data.augmented import Augment
from aetransfer.data.examples import Examples
from aetransfer.data.module import DataModule, Loader
from aetransfer.data.readers.cifar import read_cifar10
from aetransfer.data.split import cut
from aetransfer.errors import UserError
from tests.data.conftest import forbid_decoding
from tests.made import make_images, real_data

TRAIN, TEST = make_images(200), make_images(40, seed=1)


class Recorder:
    """A reader that remembers which splits it was asked for."""

    def __init__(self, train: Examples = TRAIN, test: Examples = TEST) -> None:
        self.splits = {"train": train, "test": test}
        self.asked: list[str] = []

    def __call__(self, split: str) -> Examples:
        self.asked.append(split)
        return self.splits[split]


def make_module(reader: Recorder | None = None, **changes: Any) -> DataModule:
    settings: dict[str, Any] = {
        "image_size": 8,
        "channels": 1,
        "pad": 0,
        "batch_size": 16,
        "val_fraction": 0.1,
        "labels_per_class": None,
        "train_fraction": None,
        "epoch_images": None,
        "augment": Augment(),
        "max_memory_gb": 1.0,
        "workers": 1,
        "seed": 0,
    }
    settings |= changes
    channels, size = settings.pop("channels"), settings.pop("image_size")
    module = DataModule(reader or Recorder(), shape=(channels, size, size), **settings)
    cpu = SimpleNamespace(root_device=torch.device("cpu"))
    module.trainer = SimpleNamespace(
        global_rank=0, world_size=1, current_epoch=0, strategy=cpu, fit_loop=SimpleNamespace(batch_idx=-1),
        accumulate_grad_batches=1, num_training_batches=100,
    )  # fmt: skip
    return module


def fitted(**changes: Any) -> DataModule:
    module = make_module(**changes)
    module.setup("fit")
    return module


def everything(loader: Loader) -> tuple[Tensor, Tensor]:
    images, labels, *_ = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(labels)


def loaders(module: DataModule) -> dict[str, Loader]:
    module.setup("fit")
    module.setup("test")
    return {"train": module.train_dataloader(), "val": module.val_dataloader(), "test": module.test_dataloader()}


def assert_same(first: Loader, second: Loader) -> None:
    for batch, other in zip(first, second, strict=True):
        assert torch.equal(batch.inputs, other.inputs)
        assert torch.equal(batch.targets, other.targets)


def test_the_test_split_is_not_read_before_it_is_tested_on() -> None:
    reader = Recorder()
    module = make_module(reader)
    for stage in ("fit", "validate"):
        module.setup(stage)
    everything(module.train_dataloader())
    everything(module.val_dataloader())
    module.statistics()
    assert reader.asked == ["train"]
    module.setup("test")
    module.setup("test")
    assert reader.asked == ["train", "test"]


def test_testing_alone_does_not_read_the_training_images() -> None:
    reader = Recorder()
    module = make_module(reader)
    module.setup("test")
    assert reader.asked == ["test"]
    assert module.count("test") == 40
    assert module.class_names == TEST.names


def test_train_and_validation_share_the_training_images_and_test_has_all_of_its_own() -> None:
    module = make_module()
    parts = {part: set(map(bytes, everything(loader)[0].numpy())) for part, loader in loaders(module).items()}
    assert {part: len(images) for part, images in parts.items()} == {"train": 180, "val": 20, "test": 40}
    assert parts["train"].isdisjoint(parts["val"])
    assert parts["train"] | parts["val"] == set(map(bytes, (TRAIN.inputs.float() / 255).numpy()))
    assert parts["test"] == set(map(bytes, (TEST.inputs.float() / 255).numpy()))


@pytest.mark.parametrize("labels_per_class", [1, 10, 45])
def test_labels_per_class_are_counted_out_of_each_class_and_leave_validation_alone(labels_per_class: int) -> None:
    module = fitted(labels_per_class=labels_per_class)
    assert module.count("train") == 4 * labels_per_class
    assert everything(module.train_dataloader())[1].bincount().tolist() == [labels_per_class] * 4
    assert_same(module.val_dataloader(), fitted().val_dataloader())


def test_too_many_labels_per_class_are_a_sentence() -> None:
    with pytest.raises(UserError, match=r"data\.labels_per_class=46, but class 'class0' has 45 training images"):
        fitted(labels_per_class=46)


@pytest.mark.parametrize(("channels", "pad", "count"), [(1, 0, 200), (3, 2, 200), (1, 1, 4999)])
@pytest.mark.parametrize("present", [1, 3])
def test_pixel_statistics_are_those_of_the_padded_training_images(
    channels: int, pad: int, count: int, present: int
) -> None:
    images = make_images(count, channels=present, size=4)
    images.inputs[:, 0] //= 2
    module = fitted(reader=Recorder(images), image_size=4, channels=channels, pad=pad, labels_per_class=40)
    rows, _ = cut(images, val_fraction=0.1, labels_per_class=40, train_fraction=None, seed=0)
    assert module.count("train") == len(rows)

    pixels = images.inputs[rows].numpy()
    if channels == 1 and present == 3:
        pixels = np.round(np.einsum("nchw,c->nhw", pixels, [0.299, 0.587, 0.114]))[:, None]
    pixels = np.pad(np.broadcast_to(pixels, (len(rows), channels, 4, 4)), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    mean, deviation = module.statistics()
    np.testing.assert_allclose(mean.numpy(), pixels.mean((0, 2, 3)) / 255, rtol=1e-4)
    np.testing.assert_allclose(deviation.numpy(), pixels.std((0, 2, 3)) / 255, rtol=1e-4)


def test_pixel_statistics_cover_more_images_than_one_chunk() -> None:
    images = make_images(4999, size=4)
    images.inputs[2500:] //= 4
    module = fitted(reader=Recorder(images), image_size=4, val_fraction=0.01)
    pixels = everything(module.train_dataloader())[0].double()
    mean, deviation = module.statistics()
    torch.testing.assert_close(mean.double(), pixels.mean((0, 2, 3)), rtol=1e-5, atol=0)
    torch.testing.assert_close(deviation.double(), pixels.std((0, 2, 3), correction=0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("shade", [lambda pixels: pixels, lambda pixels: pixels // 200, lambda pixels: pixels | 0xFE])
def test_pixel_statistics_are_those_of_float64_to_the_last_digit_of_float32(
    shade: Callable[[Tensor], Tensor],
) -> None:
    noise = make_images(4999, channels=3, size=4)
    images = Examples(shade(noise.inputs), noise.targets, names=noise.names)
    module = fitted(reader=Recorder(images), image_size=4, channels=3, pad=1)
    pixels = module.inputs_at("train", torch.arange(module.count("train"))).mul(255).round().double() / 255
    mean, deviation = module.statistics()
    torch.testing.assert_close(mean, pixels.mean((0, 2, 3)).float(), rtol=2**-23, atol=0)
    torch.testing.assert_close(deviation, pixels.std((0, 2, 3), correction=0).float(), rtol=2**-23, atol=0)


def test_images_without_any_contrast_have_a_deviation_that_can_be_divided_by() -> None:
    flat = Examples(torch.full_like(TRAIN.inputs, 128), TRAIN.targets, names=TRAIN.names)
    _, deviation = fitted(reader=Recorder(flat)).statistics()
    assert deviation.item() > 0


def test_pad_surrounds_every_image_with_zeros() -> None:
    plain, padded = loaders(make_module()), loaders(make_module(pad=2))
    for part in ("train", "val", "test"):
        expected = torch.nn.functional.pad(everything(plain[part])[0], (2, 2, 2, 2))
        assert torch.equal(everything(padded[part])[0], expected)


def test_first_images_are_the_front_of_a_part_as_the_encoder_sees_them() -> None:
    module = make_module(pad=2, channels=3, augment=Augment(2, True))
    for part in ("val", "test"):
        expected = everything(loaders(module)[part])[0]
        assert torch.equal(module.first_inputs(part, 7), expected[:7])
        assert torch.equal(module.first_inputs(part, 1000), expected)
    assert module.first_inputs("train", 3).shape == (3, 3, 12, 12)


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_wrong_image_size_is_a_sentence_with_both_sizes(stage: str) -> None:
    with pytest.raises(UserError) as caught:
        make_module(image_size=28).setup(stage)
    split = "train" if stage == "fit" else "test"
    assert str(caught.value) == f"The {split} images are 8x8, but data.image_size=28: correct it."


@pytest.mark.parametrize("channels", [1, 3])
def test_a_set_above_max_memory_gb_streams_the_same_batches_and_says_so(
    channels: int, caplog: pytest.LogCaptureFixture
) -> None:
    common = {"channels": channels, "pad": 1, "augment": Augment(2, True)}
    from_memory = loaders(make_module(**common))
    assert not any("streamed" in message for message in caplog.messages)
    with caplog.at_level(logging.INFO, "aetransfer"):
        streamed = loaders(make_module(**common, max_memory_gb=0))
    for part, count in (("train", 180), ("val", 20), ("test", 40)):
        assert f"{part}: {count} images exceed data.max_memory_gb and are streamed." in caplog.messages
        assert_same(streamed[part], from_memory[part])


@pytest.mark.parametrize(("part", "count", "margin"), [("train", 180, 1 + 2), ("val", 20, 1), ("test", 40, 1)])
def test_the_memory_limit_counts_the_padded_images_of_a_part(
    part: str, count: int, margin: int, caplog: pytest.LogCaptureFixture
) -> None:
    needed = count * 3 * (8 + 2 * margin) ** 2 / 1e9
    common = {"channels": 3, "pad": 1, "augment": Augment(2, True)}
    with caplog.at_level(logging.INFO, "aetransfer"):
        loaders(make_module(**common, max_memory_gb=needed))
        assert not any(message.startswith(part) for message in caplog.messages)
        loaders(make_module(**common, max_memory_gb=needed * 0.999))
        assert sum(message.startswith(part) for message in caplog.messages) == 1


def test_training_batches_change_from_epoch_to_epoch_and_validation_batches_do_not() -> None:
    module = fitted(augment=Augment(2, True))
    train, val = module.train_dataloader(), module.val_dataloader()
    first, first_val = everything(train), everything(val)
    assert torch.equal(everything(train)[0], first[0])
    module.trainer.current_epoch = 1
    assert not torch.equal(everything(train)[0], first[0])
    assert torch.equal(everything(val)[0], first_val[0])


def test_validation_and_test_images_are_not_augmented() -> None:
    plain, augmented = loaders(make_module()), loaders(make_module(augment=Augment(2, True)))
    for part in ("val", "test"):
        assert_same(plain[part], augmented[part])
    assert not torch.equal(everything(plain["train"])[0], everything(augmented["train"])[0])


def test_two_processes_divide_the_images_between_them() -> None:
    shares = []
    for rank in range(2):
        module = make_module()
        module.trainer.global_rank, module.trainer.world_size = rank, 2
        shares.append({part: everything(loader)[0] for part, loader in loaders(module).items()})
    for part, count in (("train", 180), ("val", 20), ("test", 40)):
        together = {bytes(image) for share in shares for image in share[part].numpy()}
        assert len(together) == sum(len(share[part]) for share in shares) == count


def test_another_seed_trains_on_other_images_in_another_order() -> None:
    first, second = (fitted(seed=seed, labels_per_class=10) for seed in (0, 1))
    assert not torch.equal(first.first_inputs("train", 40), second.first_inputs("train", 40))
    assert not torch.equal(everything(first.train_dataloader())[0], everything(second.train_dataloader())[0])


def test_another_seed_augments_otherwise() -> None:
    same = Examples(TRAIN.inputs[:1].repeat(200, 1, 1, 1), TRAIN.targets, names=TRAIN.names)
    first, second = (fitted(reader=Recorder(same), seed=seed, augment=Augment(2, True)) for seed in (0, 1))
    assert not torch.equal(everything(first.train_dataloader())[0], everything(second.train_dataloader())[0])


def test_a_reader_hands_over_its_own_validation_and_no_seed_changes_it(caplog: pytest.LogCaptureFixture) -> None:
    reader = Recorder(replace(TRAIN, validation=torch.arange(150, 200), notes=("Fifty of them were drawn by hand.",)))
    with caplog.at_level(logging.INFO, "aetransfer"):
        modules = [fitted(reader=reader, seed=seed) for seed in (0, 1)]
    for module in modules:
        assert (module.count("train"), module.count("val")) == (150, 50)
        assert torch.equal(module.inputs_at("val", torch.arange(50)), TRAIN.inputs[150:].float() / 255)
    assert caplog.messages[:3] == [
        "Fifty of them were drawn by hand.",
        "Validation: the data's own 50 images for every seed; data.val_fraction does not apply.",
        "Used: 150 train, 50 val images of 4 classes.",
    ]
    assert modules[0].account() == {
        "used": caplog.messages[2],
        "notes": caplog.messages[:2],
        "classes": 4,
        "validation": "own",
    }


def test_the_account_names_classes_of_which_a_part_has_no_example() -> None:
    without_last = TRAIN.targets.unique()[-1]
    kept = TRAIN.targets != without_last
    test = replace(TRAIN, inputs=TRAIN.inputs[kept], targets=TRAIN.targets[kept])
    module = fitted(reader=lambda split: TRAIN if split == "train" else test)
    assert "without" not in module.account()
    module.setup("test")
    assert module.account()["without"] == {"train": [], "val": [], "test": [TRAIN.names[-1]]}


@pytest.mark.parametrize(
    ("validation", "fault"),
    [
        (torch.tensor([0, 0]), "has positions twice: give each once"),
        (torch.tensor([0.0]), "is no tensor \\(V,\\) of torch.int64"),
        (torch.zeros(200, dtype=torch.bool), "is no tensor \\(V,\\) of torch.int64"),
        (torch.arange(200), "some of its 200 training examples, but not all"),
        (torch.tensor([200]), "some of its 200 training examples, but not all"),
        (torch.tensor([-1]), "some of its 200 training examples, but not all"),
        (torch.arange(0), "some of its 200 training examples, but not all"),
    ],
)
def test_positions_that_can_be_no_validation_are_a_sentence(validation: Tensor, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        replace(TRAIN, validation=validation)


def test_data_without_a_test_split_say_so_where_one_is_asked_for() -> None:
    reader = Recorder(replace(TRAIN, has_test=False))
    module = fitted(reader=reader)
    assert (module.has_test, module.count("test")) == (False, 0)
    with pytest.raises(UserError, match=r"no test split: choose split=val"):
        module.setup("test")
    assert reader.asked == ["train"]


@pytest.mark.real
def test_a_second_start_on_the_60_000_images_of_cifar10_decodes_none_and_measures_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = real_data()
    if not (Path(root) / "cifar10").is_dir():
        pytest.skip(f"{root} has no class folders of CIFAR-10")
    # Official batches beside the folders would be read in their place.
    (tmp_path / "cifar10").symlink_to(Path(root, "cifar10").resolve())
    reader = partial(read_cifar10, str(tmp_path), cache_dir=str(tmp_path / "cache"))
    first = fitted(reader=reader, image_size=32, channels=3).statistics()
    forbid_decoding(monkeypatch)
    module = fitted(reader=reader, image_size=32, channels=3)
    again = module.statistics()
    module.setup("test")

    assert (module.count("train"), module.count("val"), module.count("test")) == (45_000, 5_000, 10_000)
    assert all(map(torch.equal, first, again))
    # As everybody normalises CIFAR-10 by, which is of all 50,000.
    torch.testing.assert_close(again[0], torch.tensor([0.4914, 0.4822, 0.4465]), rtol=0, atol=0.001)
    torch.testing.assert_close(again[1], torch.tensor([0.2470, 0.2435, 0.2616]), rtol=0, atol=0.001)


def test_a_class_is_told_by_its_name_in_both_splits_of_a_reader() -> None:
    images = make_images(40)
    turned = Examples(images.inputs, 3 - images.targets, names=images.names[::-1])
    module = make_module(lambda split: images if split == "train" else turned)
    module.setup("fit")
    module.setup("test")

    (_, labels), *_ = module.in_order("test", 40, torch.device("cpu"))
    assert torch.equal(labels, images.targets)
    assert module.class_names == images.names


def test_splits_of_other_class_names_are_refused() -> None:
    images = make_images(40)
    other = Examples(images.inputs, images.targets, names=("class0", "class1", "class2", "klass3"))
    module = make_module(lambda split: images if split == "train" else other)
    module.setup("fit")

    with pytest.raises(
        UserError, match="The test images are of the classes class0, class1, class2, klass3, but the other"
    ):
        module.setup("test")
