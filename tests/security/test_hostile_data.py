"""Archives, pickles, pictures and caches that were made to do harm: nothing runs, nothing lands outside, no memory is filled."""

import gzip
import io
import pickle
import random
import struct
import tarfile
import tracemalloc
from functools import partial
from http.server import SimpleHTTPRequestHandler

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from aetransfer.data.readers.cifar import read_cifar10, read_cifar100
from aetransfer.data.readers.folder import read_folder
from aetransfer.data.readers.idx import read_mnist
from aetransfer.errors import UserError
from tests.data.test_idx import serving
from tests.made import IDX_FILES, md5, names_in, write_cifar_batches, write_class_folder, write_idx
from tests.security.broken_files import of_huge_pixels
from tests.security.conftest import Intruder

READERS = {
    "CIFAR10": lambda root: read_cifar10(root, "train", root),
    "CIFAR100": lambda root: read_cifar100(root, "train"),
}


@pytest.mark.parametrize("dataset", READERS)
def test_a_pickle_with_the_name_of_a_batch_is_not_unpickled(tmp_path, monkeypatch, marker, dataset):
    write_cifar_batches(tmp_path, monkeypatch, dataset)
    READERS[dataset](str(tmp_path))
    kind = getattr(datasets, dataset)
    for name in (kind.train_list[0][0], kind.test_list[0][0], kind.meta["filename"]):
        path = tmp_path / kind.base_folder / name
        content = path.read_bytes()
        path.write_bytes(pickle.dumps(Intruder(marker)))
        with pytest.raises(UserError, match=f"{path} is corrupt"):
            READERS[dataset](str(tmp_path))
        path.write_bytes(content)


@pytest.mark.parametrize("dataset", READERS)
@pytest.mark.parametrize("checksum", ["wrong", "right"])
def test_no_member_of_a_downloaded_archive_leaves_its_folder(tmp_path, monkeypatch, marker, dataset, checksum):
    """With the right checksum too, as if the published archive were the hostile one."""
    kind, root = getattr(datasets, dataset), tmp_path / "data"
    with tarfile.open(tmp_path / kind.filename, "w:gz") as archive:
        for name in ("../it-ran", "../../it-ran", f"{kind.base_folder}/../../../it-ran", str(marker)):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    if checksum == "right":
        monkeypatch.setattr(kind, "tgz_md5", md5((tmp_path / kind.filename).read_bytes()))
    with serving(partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as address:
        monkeypatch.setattr(kind, "url", f"{address}{kind.filename}")
        with pytest.raises(UserError, match=f"No {dataset} under {root}, and downloading it failed"):
            READERS[dataset](str(root))
    assert names_in(root) == set()


@pytest.fixture
def pets(tmp_path):
    for split in ("train", "test"):
        write_class_folder(tmp_path / "pets" / split, {"cat": 3, "dog": 3})
    return tmp_path / "pets"


def read(pets):
    return read_folder(str(pets), "train", 8, str(pets.parent / "cache"))


@pytest.mark.parametrize("poison", ["pickle", "objects", "zip", "empty", "others"])
def test_a_poisoned_cache_runs_nothing_and_is_decoded_again(pets, marker, poison):
    expected = read(pets).inputs.clone()
    (cache,) = (pets.parent / "cache").glob("pets-train-*")
    cache.unlink()
    with cache.open("wb") as file:
        match poison:
            case "pickle":
                pickle.dump(Intruder(marker), file)
            case "objects":
                np.save(file, np.array([Intruder(marker)], dtype=object), allow_pickle=True)
            case "zip":
                np.savez(file, a=np.array([Intruder(marker)], dtype=object))
            case "others":
                np.save(file, np.zeros((1, 3, 8, 8), np.uint8))

    assert (read(pets).inputs == expected).all()


def test_a_cache_that_is_a_link_is_replaced_and_not_written_through(pets, tmp_path):
    read(pets)
    (cache,) = (pets.parent / "cache").glob("pets-train-*")
    cache.unlink()
    (tmp_path / "thesis.tex").write_text("precious")
    cache.symlink_to(tmp_path / "thesis.tex")
    read(pets)

    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded(pets):
    path = pets / "train" / "cat" / "0001.png"
    of_huge_pixels(random.Random(0), path)

    with pytest.raises(UserError, match=f"{path} can't be read as an image"):
        read(pets)


def test_no_other_program_is_started_on_a_picture(pets, monkeypatch):
    """Pillow has Ghostscript read PostScript."""
    path = pets / "train" / "cat" / "0001.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n")
    with Image.open(path) as image:
        assert image.format == "EPS"

    with pytest.raises(UserError, match=f"{path} can't be read as an image"):
        read(pets)


@pytest.mark.parametrize("gz", [False, True])
def test_an_idx_file_that_claims_terabytes_is_refused_before_they_are_allocated(tmp_path, gz):
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, gz=gz)
    content = struct.pack(">4I", 2051, 2**31, 2**31, 2**31) + b"\0" * 100
    path = raw / f"{IDX_FILES[0]}{'.gz' if gz else ''}"
    path.write_bytes(gzip.compress(content) if gz else content)

    with pytest.raises(UserError, match=f"{path} claims to hold"):
        read_mnist(str(tmp_path), "train")


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_says(tmp_path, monkeypatch):
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, gz=True)
    path = raw / f"{IDX_FILES[0]}.gz"
    path.write_bytes(gzip.compress(struct.pack(">4I", 2051, 20, 28, 28) + b"\0" * 200_000_000, compresslevel=1))
    tracemalloc.start()
    with pytest.raises(UserError, match="is truncated or damaged: more than 15696 bytes"):
        read_mnist(str(tmp_path), "train")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
