"""200 broken files of every kind that is read: each refused with one sentence and exit code 1, and nothing trained on it."""

import gzip
import random
import shutil
from collections import Counter

import numpy as np
import pytest

from aetransfer.data import contents
from aetransfer.training import stages
from tests.integration.conftest import TINY, assert_is_one_sentence, job_of
from tests.made import IDX_FILES, write_cifar_batches, write_class_folder, write_idx
from tests.security import broken_files as broken
from tests.security.broken_files import with_a_bit_flipped

# One batch of one epoch: what is accepted by mistake is known soon.
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=1", "logger=none", "callbacks=none", "trainer=cpu")
NARROW = ("encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", *SHORT)
ANY_FILE = (broken.cut_short, broken.emptied, broken.a_folder_in_its_place, broken.of_another_kind)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished transfer with its pretraining; returns both directories."""
    job = job_of(*TINY, "transfer=finetune", f"paths.output_dir={tmp_path_factory.mktemp('outputs')}", "trainer=cpu")
    done = stages.run(job, [])
    return done.directory.path, stages.RunDirectory(done.directory.path.parent / done.result["source"]).path


class Count:
    """Spoils a file in each of several ways, and keeps what was not refused as it should be."""

    def __init__(self, command, seed):
        self.command, self.draw = command, random.Random(seed)
        self.refused, self.wrong = Counter(), []

    def spoil(self, times, path, ways, restore, *words, kind, sound=False):
        """sound: see first that the file is taken before it is spoiled."""
        if sound:
            restore()
            assert self.command(*words).code == 0
        for number in range(times):
            way = ways[number % len(ways)]
            restore()
            before = sorted(path.parent.iterdir())
            assert path in before
            way(self.draw, path)
            done = self.command(*words)
            try:
                assert done.code == 1
                assert_is_one_sentence(done.err)
                self.refused[kind] += 1
            except AssertionError:
                self.wrong.append((kind, way.__name__, done.code, done.err[-600:]))

    def check(self, capfd, expected):
        with capfd.disabled():
            print(f"\n{sum(self.refused.values())} of {expected} broken files refused: {dict(self.refused)}")
        assert not self.wrong
        assert sum(self.refused.values()) == expected


@pytest.mark.slow
@pytest.mark.timeout(1800)  # beside other work; three minutes on two cores of their own
def test_every_broken_data_file_is_refused_with_one_sentence(run_train, tmp_path, monkeypatch, capfd):
    count = Count(run_train, seed=1)
    data = tmp_path / "data"

    def fresh(make):
        def restore():
            for place in (data, tmp_path / "outputs"):
                shutil.rmtree(place, ignore_errors=True)
            make()

        return restore

    raw, images = data / "MNIST" / "raw", data / "pets"
    train_mnist = ("data=mnist", "model=ae", *NARROW)
    for gz in (False, True):
        idx = [broken.claiming_too_much, with_a_bit_flipped(0, 3) if gz else with_a_bit_flipped(0, 16), *ANY_FILE]
        more = [with_a_bit_flipped(-8, 0)] if gz else [broken.with_a_sibling_in_its_place]
        end = ".gz" if gz else ""
        restore = fresh(lambda gz=gz: write_idx(raw, gz=gz))
        count.spoil(20, raw / f"{IDX_FILES[0]}{end}", [*idx, *more], restore, *train_mnist, kind=f"idx{end}")
        labels = [broken.a_label_too_many, broken.claiming_too_much, with_a_bit_flipped(0, 3), *ANY_FILE]
        count.spoil(15, raw / f"{IDX_FILES[1]}{end}", labels, restore, *train_mnist, kind=f"idx{end}")

    def pets():
        for split in ("train", "test"):
            write_class_folder(images / split, {"cat": 3, "dog": 3}, size=32)

    picture = [broken.of_huge_pixels, with_a_bit_flipped(0, 8), with_a_bit_flipped(16, 33), *ANY_FILE[:2], ANY_FILE[3]]
    folder = ("data=image_folder", f"data.root={images}", "model=ae", *NARROW)
    count.spoil(25, images / "train" / "cat" / "0001.png", picture, fresh(pets), *folder, kind="image folder")

    def without_a_class(draw, path):
        shutil.rmtree(draw.choice([images / "train" / "dog", images / "test" / "cat", images / "train"]))

    def with_an_empty_class(draw, path):
        (images / draw.choice(["train", "test"]) / "emu").mkdir()

    folders = [without_a_class, with_an_empty_class]
    count.spoil(5, images / "train" / "cat" / "0001.png", folders, fresh(pets), *folder, kind="image folder")

    def cifar10():
        for split in ("train", "test"):
            write_class_folder(data / "cifar10" / split, {f"class{n}": 2 for n in range(10)}, size=32)

    png = data / "cifar10" / "train" / "class3" / "0000.png"
    cifar = ("data=cifar10", "model=ae", *NARROW)
    count.spoil(10, png, picture, fresh(cifar10), *cifar, kind="cifar10 folders")

    with monkeypatch.context() as patch:
        restore = fresh(lambda: write_cifar_batches(data, patch))
        anywhere = [with_a_bit_flipped(0, 0), broken.with_a_sibling_in_its_place, *ANY_FILE]
        batch = data / "cifar-10-batches-py" / "data_batch_3"
        restore()
        shutil.move(data / "cifar-10-batches-py", tmp_path / "sound")

        def official():
            fresh(lambda: shutil.copytree(tmp_path / "sound", data / "cifar-10-batches-py"))()

        count.spoil(15, batch, anywhere, official, *cifar, kind="cifar10 batches")
    count.check(capfd, 125)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_broken_file_of_arrays_or_signals_is_refused_with_one_sentence(run_train, tmp_path, capfd):
    def looks_anew(*words):
        contents._known.clear()
        contents._forms.clear()
        return run_train(*words)

    count = Count(looks_anew, seed=4)
    data = tmp_path / "data"
    pixels = np.random.default_rng(0).integers(256, size=(6, 32, 32), dtype=np.uint8)

    def fresh(make):
        def restore():
            for place in (data, tmp_path / "outputs"):
                shutil.rmtree(place, ignore_errors=True)
            data.mkdir()
            make()

        return restore

    def arrays(name):
        return "data=arrays", f"data.root={data / name}", "data.name=set", "model=ae", *NARROW

    packed = [broken.in_a_member_of_a_zip, *ANY_FILE]
    restore = fresh(lambda: np.savez_compressed(data / "set.npz", images=pixels))
    count.spoil(20, data / "set.npz", packed, restore, *arrays("set.npz"), kind="npz", sound=True)
    ways = [broken.a_npy_that_claims_more, broken.a_npy_of_objects, with_a_bit_flipped(0, 6), *ANY_FILE]
    restore = fresh(lambda: np.save(data / "set.npy", pixels))
    count.spoil(21, data / "set.npy", ways, restore, *arrays("set.npy"), kind="npy", sound=True)

    def table():
        lines = [",".join([f"x{n}" for n in range(32)] + ["y"])]
        lines += [",".join([f"{row + n / 2}" for n in range(32)] + [f"{row}.5"]) for row in range(6)]
        (data / "set.csv").write_text("\n".join(lines))

    ways = [broken.a_table_of_less, *ANY_FILE[1:]]
    words = (*arrays("set.csv"), "data.targets=y", "data.axes=NL")
    count.spoil(20, data / "set.csv", ways, fresh(table), *words, kind="csv", sound=True)

    def signals(ending):
        header = "@problemName S\n@timeStamps false\n@univariate true\n@classLabel true a b\n@data\n"
        lines = [",".join([f"{n + row}" for n in range(31)] + ["0.5"]) + f":{'ab'[row % 2]}" for row in range(6)]
        text = (header + "\n".join(lines)).encode()
        for part in ("TRAIN", "TEST"):
            content = gzip.compress(text) if ending == ".ts.gz" else text
            (data / f"S_{part}{ending}").write_bytes(content)

    words = ("data=timeseries", f"data.root={data}", "data.table=S", "model=ae", *NARROW)
    for ending, ways in (
        (".ts", [broken.a_ts_of_less, broken.a_ts_of_less, *ANY_FILE[1:]]),
        (".ts.gz", [with_a_bit_flipped(-8, 0), *ANY_FILE]),
    ):
        for part in ("TRAIN", "TEST"):
            path = data / f"S_{part}{ending}"
            count.spoil(10, path, ways, fresh(lambda ending=ending: signals(ending)), *words, kind=ending, sound=True)
    count.check(capfd, 101)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # beside other work; three minutes on two cores of their own
def test_every_broken_encoder_checkpoint_config_and_result_is_refused_with_one_sentence(
    run_train, run_evaluate, finished, tmp_path, capfd
):
    transfer, source = finished
    run, given = tmp_path / "run", tmp_path / "given"

    def restore():
        for place, sound in ((run, transfer), (given, source)):
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(sound, place)
        shutil.rmtree(tmp_path / "outputs", ignore_errors=True)

    carried = Count(run_train, seed=2)
    words = ("data=photo_digits", "transfer=finetune", *SHORT)
    header = [broken.in_the_safetensors_header] * 3 + [broken.a_header_that_lies] * 2
    carried.spoil(
        30, given / "encoder.safetensors", [*header, *ANY_FILE], restore, f"pretrain={given}/encoder.safetensors", *words,
        kind="encoder",
    )  # fmt: skip
    best = "checkpoints/best.ckpt"
    torn = [
        broken.a_checkpoint_of_less,
        *ANY_FILE[:2],
        ANY_FILE[3],
        with_a_bit_flipped(0, 4),
        with_a_bit_flipped(-22, -18),
    ]
    carried.spoil(5, given / best, [*ANY_FILE], restore, f"pretrain={given}/{best}", *words, kind="checkpoint carried")

    measured = Count(run_evaluate, seed=3)
    for times, name, ways, kind in (
        (15, best, torn, "checkpoint measured"),
        (15, "config.yaml", [broken.no_longer_yaml, broken.a_config_that_is_none, *ANY_FILE[1:]], "config.yaml"),
        (10, "result.json", [broken.a_result_that_is_none, *ANY_FILE], "result.json"),
    ):
        measured.spoil(times, run / name, ways, restore, f"run={run}", "accelerator=cpu", kind=kind)

    measured.refused.update(carried.refused)
    measured.wrong += carried.wrong
    measured.check(capfd, 75)
