"""A result belongs to its data: other data are another run, the same data are the same run wherever they lie."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from aetransfer.data import contents
from aetransfer.data.examples import Examples
from aetransfer.errors import UserError
from aetransfer.models.autoencoder import AutoEncoder
from tests.commands import TorchlessProcess
from tests.integration.conftest import assert_is_one_sentence, assert_refused
from tests.integration.test_resume import assert_same
from tests.made import make_images, write_class_folder, write_idx, write_image

SMALL = ("encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", "trainer.max_epochs=1", "logger=none",
         "callbacks=none", "data.batch_size=8", "trainer.accelerator=cpu", "trainer.progress=false")  # fmt: skip
AE = ("model=ae", *SMALL)
FOLDER = ("data=image_folder", "data.augment.crop=null")

OWN_READER = """
import numpy as np
import torch
from aetransfer.data.examples import Examples


def read(split, root):
    with np.load(root) as arrays:
        return Examples(torch.from_numpy(arrays[f"{{split}}_x"]), torch.from_numpy(arrays[f"{{split}}_y"]), names=("a", "b"))


def make(split, brightness):
    rng = np.random.default_rng(0 if split == "train" else 1)
    pixels = rng.integers(100, size=(20, 1, 16, 16)) + {factor}
    return Examples(torch.from_numpy(pixels.astype(np.uint8)), torch.arange(20) % 2, names=("a", "b"))


def make_without_test(split, brightness):
    assert split == "train", split
    made = make(split, brightness)
    return Examples(made.inputs, made.targets, names=made.names, has_test=False)
"""


@pytest.fixture(autouse=True)
def looks_anew():
    """A command of its own looks at its data; those of a test share a process."""
    contents._known.clear()


@pytest.fixture
def train(run_train):
    def run(*words):
        contents._known.clear()
        return run_train(*words)

    return run


@pytest.fixture
def folder(tmp_path):
    return write_pets(tmp_path / "images")


def write_pets(root, count=10, seed=0, size=16):
    for place, split in enumerate(("train", "test")):
        write_class_folder(root / split, {"cat": count, "dog": count}, size=size, seed=seed + place)
    return root


def at(folder):
    return (*FOLDER, f"data.root={folder}", "data.image_size=16", f"paths.cache_dir={folder.parent}/cache")


def rows_of(done):
    """The rows of the sweep that a command named last, one a group."""
    sweep = Path(done.out.strip().splitlines()[-1].partition(": ")[2])
    with (sweep / "report" / "results.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["metric"] == "test/acc"]


def test_images_that_were_added_make_another_run(train, folder):
    before = train(*AE, *at(folder))
    write_class_folder(folder / "train", {"fish": 6}, size=16, seed=9)
    write_class_folder(folder / "test", {"fish": 4}, size=16, seed=10)

    after = train(*AE, *at(folder), "reuse=same_code")

    assert (before.result["counts"]["test"], after.result["counts"]["test"]) == (20, 24)
    assert after.run != before.run
    assert f"{before.run.name} had other data (train/fish/0000.png is new, " in after.out
    shutil.rmtree(folder / "train" / "fish")
    shutil.rmtree(folder / "test" / "fish")
    assert train(*AE, *at(folder)).run == before.run


def test_one_relative_root_in_two_folders_is_two_runs(train, tmp_path, monkeypatch):
    runs = []
    for name, seed in (("one", 0), ("two", 5)):
        write_pets(tmp_path / name / "images", seed=seed)
        monkeypatch.chdir(tmp_path / name)
        runs.append(train(*AE, *FOLDER, "data.root=images", "data.image_size=16"))

    assert runs[0].run != runs[1].run
    assert runs[0].result["metrics"] != runs[1].result["metrics"]


@pytest.mark.slow
def test_a_trial_copy_of_mnist_does_not_answer_for_all_of_it(train, tmp_path, monkeypatch):
    for name, count in (("trial", 40), ("whole", 100)):
        write_idx(tmp_path / name / "MNIST" / "raw", count, count // 2)
    monkeypatch.setenv("AETRANSFER_DATA_DIR", str(tmp_path / "trial"))
    trial = train(*AE, "data=mnist")
    monkeypatch.setenv("AETRANSFER_DATA_DIR", str(tmp_path / "whole"))

    whole = train(*AE, "data=mnist")

    assert (trial.result["counts"]["test"], whole.result["counts"]["test"]) == (20, 50)


def test_the_same_images_at_another_path_are_the_same_run(train, folder, tmp_path):
    first = train(*AE, *at(folder))
    shutil.copytree(folder, tmp_path / "scratch" / "job_17", copy_function=shutil.copyfile)  # with new times

    for other in (f"{folder}/../images", tmp_path / "scratch" / "job_17"):
        again = train(*AE, *FOLDER, f"data.root={other}", "data.image_size=16")
        assert again.run == first.run
        assert "is finished: its result is used" in again.out


def test_gzipped_files_are_the_same_data_as_those_that_they_unpack_to(train, tmp_path, monkeypatch):
    runs = []
    for name in ("raw", "gz"):
        write_idx(tmp_path / name / "MNIST" / "raw", 40, 20, gz=name == "gz")
        monkeypatch.setenv("AETRANSFER_DATA_DIR", str(tmp_path / name))
        runs.append(train(*AE, "data=mnist").run)

    assert runs[0] == runs[1]


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_image_that_was_replaced_by_one_of_its_size_and_time_makes_another_run(train, tmp_path, split):
    root = tmp_path / "images"
    for part in ("train", "test"):
        for number in range(10):
            write_image(
                root / part / ("cat" if number % 2 else "dog") / f"{number}.bmp",
                np.full((16, 16, 3), number * 20, np.uint8),
            )
    first = train(*AE, *at(root))
    image = root / split / "cat" / "1.bmp"
    status = image.stat()
    write_image(image, np.full((16, 16, 3), 255, np.uint8))
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))

    after = train(*AE, *at(root))

    assert after.run != first.run
    assert f"({split}/cat/1.bmp was changed)" in after.out


@pytest.mark.slow
def test_a_transfer_trains_a_pretraining_anew_whose_images_changed(train, folder):
    words = (*SMALL, "data=photo_digits", "data@pretrain.data=image_folder", f"pretrain.data.root={folder}",
             "transfer=frozen", "trainer.limit_train_batches=2", "pretrain.trainer.max_epochs=1")  # fmt: skip
    before = train(*words)
    write_image(folder / "train" / "cat" / "0000.png", np.zeros((16, 16, 3), np.uint8))

    after = train(*words)

    assert after.run != before.run
    assert after.result["source"] != before.result["source"]


class TestOwnReader:
    @pytest.fixture(autouse=True)
    def lab(self, tmp_path, monkeypatch):
        for number, name in enumerate(("a", "b")):
            rng = np.random.default_rng(number)
            arrays = {
                f"{split}_x": rng.integers(256, size=(20, 1, 16, 16), dtype=np.uint8) for split in ("train", "test")
            }
            np.savez(tmp_path / f"{name}.npz", **arrays, train_y=np.arange(20) % 2, test_y=np.arange(20) % 2)
        self.write(tmp_path, "lab_of_data", 50)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.chdir(tmp_path)

    def write(self, folder, name, factor):
        (folder / f"{name}.py").write_text(OWN_READER.format(factor=factor))

    WORDS = (*SMALL, "data=digits", "data.name=own", "data.channels=1", "data.image_size=16", "data.classes=2",
             "allow=[lab_of_data]", "transfer=scratch")  # fmt: skip
    READ = (*WORDS, "data.reader._target_=lab_of_data.read")
    MAKE = (*WORDS, "data.reader._target_=lab_of_data.make", "+data.reader.brightness=1")

    def test_two_files_in_a_sweep_are_two_rows(self, train):
        done = train("-m", *self.READ, "+data.reader.root=a.npz,b.npz")

        assert done.code == 0, done.err
        rows = rows_of(done)
        assert [row["n"] for row in rows] == ["1", "1"]
        assert [row["data.root"].rpartition("/")[2] for row in rows] == ["a.npz", "b.npz"]

    def test_a_file_of_the_same_content_is_the_same_run(self, train, tmp_path):
        first = train(*self.READ, "+data.reader.root=a.npz")
        shutil.copy(tmp_path / "a.npz", tmp_path / "c.npz")
        shutil.copy(tmp_path / "b.npz", tmp_path / "a.npz")

        assert train(*self.READ, "+data.reader.root=c.npz").run == first.run
        assert train(*self.READ, "+data.reader.root=a.npz").run != first.run

    def test_of_one_that_names_no_file_the_images_decide(self, train, tmp_path):
        from lab_of_data import make

        first = train(*self.MAKE)
        assert train(*self.MAKE).run == first.run
        code = make.__code__
        try:
            self.write(tmp_path, "brighter", 90)
            import brighter

            make.__code__ = brighter.make.__code__
            assert train(*self.MAKE).run != first.run
        finally:
            make.__code__ = code

    def test_one_without_a_test_split_is_asked_for_none(self, train):
        words = [word for word in self.MAKE if not word.startswith(("transfer=", "data.reader._target_="))]
        done = train(*words, "data.reader._target_=lab_of_data.make_without_test", "model=ae")

        assert done.code == 0, done.err
        assert set(done.result["metrics"]) == {"val/mse"}

    def test_its_identity_is_open_where_only_reading_tells(self, train, run_train):
        done = run_train("--identity", *self.MAKE)

        assert done.out.split()[2] == "open"
        assert "the reader of own names no file, so that only reading tells what it gives" in done.err

    def test_a_folder_of_many_data_sets_is_no_file_of_one(self, train, tmp_path, monkeypatch):
        (tmp_path / "data").mkdir()
        words = (*self.WORDS, "data.reader._target_=lab_of_data.make", "+data.reader.brightness='${paths.data_dir}'")
        first = train(*words)
        (tmp_path / "data" / "another_set.bin").write_bytes(b"1")

        assert train(*words).run == first.run


@pytest.mark.slow
def test_rerun_says_that_the_pretraining_is_used_and_how_it_is_done_afresh_too(train):
    words = (*SMALL, "data=photo_digits", "data@pretrain.data=digits", "trainer.limit_train_batches=2",
             "pretrain.trainer.limit_train_batches=2", "pretrain.trainer.max_epochs=1")  # fmt: skip
    first = train(*words, "transfer=frozen")
    pretrainings = lambda: list(first.run.parent.glob("pretrain-*"))  # noqa: E731

    rerun = train(*words, "transfer=frozen", "rerun=true")
    assert "add pretrain.rerun=true to do the pretraining afresh too" in rerun.out
    assert len(pretrainings()) == 1

    # However many jobs of a command ask, it is done afresh once; what carries it is then done afresh as well.
    both = train("-m", *words, "transfer=frozen,finetune,scratch", "pretrain.rerun=true")
    assert both.code == 0, both.err
    assert len(pretrainings()) == 2
    assert len(list(first.run.parent.glob("transfer-photo_digits-frozen-*"))) == 3


def test_evaluate_refuses_data_that_changed_and_measures_those_that_are_named(train, run_evaluate, folder):
    done = train(*AE, *at(folder))
    measured = run_evaluate(f"run={done.run}")
    assert float(measured.out.split()[-1]) == done.result["metrics"]["test/mse"]
    write_image(folder / "test" / "cat" / "0001.png", np.zeros((16, 16, 3), np.uint8))
    contents._known.clear()

    refused = run_evaluate(f"run={done.run}")
    named = run_evaluate(f"run={done.run}", *at(folder))

    assert_refused(
        refused,
        f"{done.run} was trained on other data than there are now in {folder} (test/cat/0001.png was changed): put "
        "them back, or name the data (data=image_folder ...) to measure them as they are.",
    )
    assert named.code == 0, named.err
    assert float(named.out.split()[-1]) != done.result["metrics"]["test/mse"]


def test_predict_says_that_a_runs_own_data_changed(train, command, folder, tmp_path):
    from aetransfer import predict

    done = train(*SMALL, *at(folder), "transfer=scratch")
    words = (f"run={done.run}", f"out={tmp_path}/p.csv", *at(folder))
    assert "was trained on other data" not in command(predict.main, *words).out
    (folder / "test" / "cat" / "0001.png").unlink()
    contents._known.clear()

    after = command(predict.main, *words)

    assert after.code == 0, after.err
    assert f"was trained on other data than there are now in {folder} (test/cat/0001.png is missing)" in after.out


@pytest.mark.slow
def test_a_search_for_other_data_asks_for_trials_of_its_own(train, folder, tmp_path):
    words = ("-m", *SMALL, *at(folder), "transfer=scratch", "sweep=tune", "sweep.trials=1", "trainer.max_epochs=1")
    assert train(*words).code == 0
    write_image(folder / "train" / "cat" / "0001.png", np.zeros((16, 16, 3), np.uint8))

    after = train(*words)

    assert after.code == 0, after.err
    assert len(list((tmp_path / "outputs" / "runs").glob("transfer-image_folder-scratch-*"))) == 2


def test_data_of_another_digest_than_is_asked_for_are_refused(train, folder):
    done = train(*AE, *at(folder))
    digest = done.run.name.rpartition("-")[2]
    assert train(*AE, *at(folder), f"data.digest={digest}").run == done.run

    refused = train(*AE, *at(folder), "data.digest=01234567")

    assert_refused(
        refused,
        f"data.digest=01234567, but image_folder in {folder} has the digest {digest}: these are other data.",
    )


def test_checksums_are_stored_and_files_that_were_not_touched_are_not_read_again(train, folder, monkeypatch):
    first = train(*AE, *at(folder))
    read = []
    original = contents._checksum
    monkeypatch.setattr(contents, "_checksum", lambda path: read.append(path) or original(path))

    assert train(*AE, *at(folder)).run == first.run
    assert read == []

    write_image(folder / "train" / "cat" / "new.png", np.zeros((16, 16, 3), np.uint8))
    train(*AE, *at(folder))
    assert read == [str(folder / "train" / "cat" / "new.png")]


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"a": 3}', b"\xff\xfe", b"[[1], [1], [1], [1], [[]]]"])
def test_stored_checksums_that_are_damaged_are_taken_anew(train, folder, content):
    first = train(*AE, *at(folder))
    (stored,) = (folder.parent / "cache").glob("checksums-*.json")
    stored.write_bytes(content)

    assert train(*AE, *at(folder)).run == first.run


def test_a_sweep_looks_at_its_data_once(train, folder, monkeypatch):
    looked = []
    original = contents.files_of_reader
    monkeypatch.setattr(contents, "files_of_reader", lambda *words: looked.append(1) or original(*words))
    words = ("-m", *AE, *at(folder), "seed=0,1,2")
    assert train(*words).code == 0
    looked.clear()

    assert train(*words).code == 0  # all three are finished

    assert len(looked) == 1


def test_data_that_change_while_a_command_runs_end_it_in_a_sentence(train, folder, monkeypatch):
    from aetransfer.training import stages

    original = stages._recorded

    def change(*arguments):
        write_image(folder / "train" / "cat" / "0001.png", np.zeros((16, 16, 3), np.uint8))
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "_recorded", change)
        done = train(*AE, *at(folder))

    assert_is_one_sentence(done.err)
    assert "were changed while the command ran" in done.err
    assert train(*AE, *at(folder)).code == 0


def test_the_identity_of_files_needs_no_torch(folder, tmp_path):
    with TorchlessProcess(tmp_path) as torchless:
        answer = torchless("train", "--identity", *AE, *at(folder))

    assert (answer.code, answer.torch) == (0, False), answer.err


def test_where_the_data_are_not_the_digest_of_the_config_is_shown_and_the_rest_is_open(run_train, train, folder):
    here = train(*AE, *at(folder))
    digest = here.result["identity"].partition("-")[0]

    done = run_train("--identity", *AE, *FOLDER, "data.root=/not/here", "data.image_size=16")

    assert done.code == 0
    _, identity, status, path = done.out.split()
    assert (identity, status) == (f"{digest}-?", "open")
    assert path.endswith(f"{digest}-*")
    assert "/not/here does not exist" in done.err


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_where_its_data_were_copied_anew(
    run_train, train, folder, tmp_path, monkeypatch
):
    words = (*AE, *at(folder), "trainer.max_epochs=2")
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "whole"))
    whole = train(*words)
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "outputs"))
    cut(run_train, monkeypatch, *words)
    # As onto the disk of another machine: the same bytes, other times.
    shutil.move(folder, tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere", folder, copy_function=shutil.copyfile)

    resumed = train(*words)

    assert "Resuming from" in resumed.out
    assert_same(resumed, whole)


@pytest.mark.slow
def test_a_run_whose_images_are_read_otherwise_from_the_same_files_does_not_go_on(
    run_train, train, folder, monkeypatch, tmp_path
):
    words = (*AE, *at(folder), "trainer.max_epochs=2")
    cut(run_train, monkeypatch, *words)
    (run,) = (tmp_path / "outputs" / "runs").glob("[!.]*")
    noted = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps(noted | {"images": "00000000"}))

    refused = train(*words)

    assert_refused(
        refused,
        f"{run.name} was begun on images that the reader of image_folder in {folder} now gives otherwise, from the same "
        f"files: rerun=true begins {run.name} afresh.",
    )
    assert train(*words, "rerun=true").code == 0


def cut(run_train, monkeypatch, *words):
    """Begin a run and have it stopped after its second step."""
    original, made = AutoEncoder.training_step, []

    def step(self, *arguments):
        made.append(1)
        if len(made) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(AutoEncoder, "training_step", step)
        assert run_train(*words).code == 130


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
def test_a_file_of_mnist_that_is_truncated_or_missing_is_named_when_a_run_goes_on(
    run_train, train, monkeypatch, tmp_path, name
):
    raw = tmp_path / "data" / "MNIST" / "raw"
    write_idx(raw, 200, 20)
    words = (*AE, "data=mnist")
    cut(run_train, monkeypatch, *words)
    content = (raw / name).read_bytes()
    (raw / name).write_bytes(content[:-1])
    truncated = train(*words)
    (raw / name).unlink()
    missing = train(*words)

    for done in (truncated, missing):
        assert_is_one_sentence(done.err)
        assert name in done.err

    (raw / name).write_bytes(content)
    assert "Resuming from" in train(*words).out


def test_an_image_that_is_truncated_or_unreadable_is_named(train, folder, monkeypatch):
    image = folder / "train" / "cat" / "0001.png"
    image.write_bytes(image.read_bytes()[:100])
    done = train(*AE, *at(folder))
    assert_is_one_sentence(done.err)
    assert str(image) in done.err

    def refuse(path, *words):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"0001.png can't be read \(Permission denied\)"):
        contents._checksum(str(image))


def test_a_large_training_split_is_compared_by_evenly_spaced_images():
    images = make_images(100)
    quarter = images.inputs.numel() // 4
    changed = images.inputs.clone()
    changed[4] += 1
    other = Examples(changed, images.targets, names=images.names)

    assert contents.checksum_of(other, quarter) != contents.checksum_of(images, quarter)
    changed[4] -= 1
    assert contents.checksum_of(other, quarter) == contents.checksum_of(images, quarter)
