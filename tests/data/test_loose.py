"""Images as they lie about: what is found, what is left out, and what an archive may not do."""

import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from aetransfer.data.loose import LooseImages
from aetransfer.errors import UserError
from tests.made import write_class_folder, write_image


def names(loose):
    return [image.name for image in loose.images]


def decoded(loose, size=8, batch_size=2):
    batches = list(loose.decoded((size, size), batch_size))
    return (
        {image.name: row for batch in batches for image, row in zip(batch.images, batch.pixels, strict=True)},
        dict(pair for batch in batches for pair in batch.unreadable),
    )


def zipped(root, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root))
    return path


def test_all_images_below_a_folder_are_found_with_the_folder_they_lie_in_as_label(tmp_path):
    write_class_folder(tmp_path / "deep" / "down", {"cat": 2, "dog": 1})
    write_image(tmp_path / "top.jpg", np.zeros((8, 8), np.uint8))
    loose = LooseImages(tmp_path)

    assert names(loose) == ["deep/down/cat/0000.png", "deep/down/cat/0001.png", "deep/down/dog/0000.png", "top.jpg"]
    assert [image.label for image in loose.images] == ["cat", "cat", "dog", ""]


def test_what_is_no_image_by_its_name_is_told_apart_and_what_is_hidden_is_not_looked_at(tmp_path):
    write_class_folder(tmp_path, {"cat": 1})
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden").mkdir()
    write_image(tmp_path / ".hidden" / "x.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    loose = LooseImages(tmp_path)

    assert names(loose) == ["cat/0000.png"]
    assert loose.others == ["notes.txt"]


def test_a_link_to_a_folder_is_followed_and_one_that_leads_back_is_not(tmp_path):
    write_class_folder(tmp_path / "elsewhere", {"cat": 1})
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "images")

    assert names(LooseImages(tmp_path / "images")) == ["linked/cat/0000.png"]


def test_what_a_file_server_keeps_is_not_looked_at_and_a_link_to_nothing_is_said_to_be_unreadable(tmp_path):
    write_class_folder(tmp_path, {"cat": 1, "cat/@eaDir": 2})
    (tmp_path / "cat" / "gone.png").symlink_to("/not/mounted/gone.png")
    loose = LooseImages(tmp_path)

    assert names(loose) == ["cat/0000.png", "cat/gone.png"]
    assert list(decoded(loose)[1]) == ["cat/gone.png"]


def test_an_image_without_an_ending_is_tried_and_a_name_that_is_no_text_is_spelt_out(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "scan", format="PNG")
    (tmp_path / "scan").rename(tmp_path / os.fsdecode(b"sc\xffn"))
    loose = LooseImages(tmp_path)

    read, unreadable = decoded(loose)
    assert list(read) == ["sc\\xffn"]
    assert not unreadable


def test_a_zip_holds_the_same_images_as_the_folder_it_was_made_from(tmp_path):
    pixels = write_class_folder(tmp_path / "images", {"cat": 3, "dog": 2})
    read, _ = decoded(LooseImages(zipped(tmp_path / "images", tmp_path / "images.zip")))

    assert {name: row.transpose(1, 2, 0).tolist() for name, row in read.items()} == {
        name: values.tolist() for name, values in pixels.items()
    }


def test_a_zip_that_was_made_on_windows_keeps_its_folders_and_so_its_labels(tmp_path):
    pixels = write_class_folder(tmp_path / "images", {"cat": 2, "dog": 1})
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("pets\\", b"")
        for name in pixels:
            archive.write(tmp_path / "images" / name, f"pets/{name}".replace("/", "\\"))
    loose = LooseImages(tmp_path / "images.zip")

    assert names(loose) == [f"pets/{name}" for name in pixels]
    assert [image.label for image in loose.images] == ["cat", "cat", "dog"]
    assert loose.others == []
    read, unreadable = decoded(loose)
    assert len(read) == 3 and not unreadable


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_what_macos_puts_beside_each_file_of_an_archive_is_no_image_wherever_it_lies(tmp_path, separator):
    write_class_folder(tmp_path / "images" / "pets", {"cat": 1})
    shadow = tmp_path / "images" / "pets" / "__MACOSX" / "cat" / "0000.png"
    shadow.parent.mkdir(parents=True)
    shadow.write_bytes(b"resource fork")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in sorted((tmp_path / "images").rglob("*.png")):
            archive.writestr(str(file.relative_to(tmp_path / "images")).replace("/", separator), file.read_bytes())

    assert names(LooseImages(tmp_path / "images.zip")) == ["pets/cat/0000.png"]
    assert names(LooseImages(tmp_path / "images")) == ["pets/cat/0000.png"]


def test_what_cannot_be_read_is_named_and_the_rest_is_read(tmp_path):
    write_class_folder(tmp_path, {"cat": 3})
    whole = (tmp_path / "cat" / "0001.png").read_bytes()
    (tmp_path / "cat" / "0001.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cat" / "0003.png").write_text("no image at all")
    read, unreadable = decoded(LooseImages(tmp_path))

    assert list(read) == ["cat/0000.png", "cat/0002.png"]
    assert list(unreadable) == ["cat/0001.png", "cat/0003.png"]
    assert "no format that Pillow knows" in unreadable["cat/0003.png"]


def test_nothing_in_a_zip_is_unpacked_to_disk_wherever_its_name_points(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../escaped.png", (tmp_path / "a.png").read_bytes())
        archive.writestr("/absolute.png", (tmp_path / "a.png").read_bytes())
    before = sorted(tmp_path.parent.rglob("*"))
    read, unreadable = decoded(LooseImages(tmp_path / "evil.zip"))

    assert len(read) == 2 and not unreadable
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_a_member_that_would_fill_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.png", "a.png")
        archive.writestr("bomb.png", b"\0" * 2_000_000)
    assert (tmp_path / "bomb.zip").stat().st_size < 10_000
    monkeypatch.setattr("aetransfer.data.loose.MAX_MEMBER_BYTES", 1_000_000)
    original = zipfile.ZipFile.read

    def read(archive, member):
        assert member.filename != "bomb.png"
        return original(archive, member)

    monkeypatch.setattr(zipfile.ZipFile, "read", read)

    read_images, unreadable = decoded(LooseImages(tmp_path / "bomb.zip"))
    assert list(read_images) == ["a.png"]
    assert unreadable["bomb.png"] == "bomb.png would take 2 MB, and an image may take 1 MB: it is not unpacked."


def test_an_image_of_absurd_size_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    write_image(tmp_path / "huge.png", np.zeros((11, 10), np.uint8))
    _, unreadable = decoded(LooseImages(tmp_path))

    assert "10x11 pixels" in unreadable["huge.png"]


def test_an_encrypted_member_is_named(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    _, unreadable = decoded(LooseImages(tmp_path / "a.zip"))

    assert "can't be read from the zip" in unreadable["a.png"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.mkdir(), "holds no image: none of its 0 files is one by its name"),
        (lambda path: path.write_text("no zip"), "is no folder, no image by its name and no whole .zip"),
        (lambda path: None, "does not exist"),
    ],
)
def test_where_there_is_no_image_it_is_said(tmp_path, make, sentence):
    make(tmp_path / "images")
    with pytest.raises(UserError, match=sentence):
        LooseImages(tmp_path / "images")
