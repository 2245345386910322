"""Image files of every kind are read as what they are: depth, transparency, orientation, frames; or refused by name."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from aetransfer.data.examples import Examples
from aetransfer.data.loose import LooseImages
from aetransfer.data.readers.folder import read_folder
from aetransfer.data.reading import full_range
from aetransfer.errors import UserError
from tests.data.conftest import forbid_decoding
from tests.made import names_in, png_of_16_bits, write_image

SIZE = 16
RAMP = np.tile(np.linspace(0, 255, SIZE).round().astype(np.uint8), (SIZE, 1))
WIDE = RAMP.astype(np.uint16)
BLACK = np.zeros_like(RAMP)


def saved(image: Image.Image, **how: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, **how)
    return content.getvalue()


def of(values: np.ndarray, kind: str = "PNG", **how: Any) -> bytes:
    return saved(Image.fromarray(values), format=kind, **how)


def tiff_of_16_bit_colour(values: np.ndarray, order: str) -> bytes:
    """An uncompressed TIFF of (H, W, 3) values from 0 to 65535, in the byte order "<" or ">": Pillow writes none."""
    height, width, _ = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    bits_at, pixels_at = 122, 128  # behind the header's 8 bytes and a directory of nine tags
    shorts = {259: 1, 262: 2, 277: 3}
    longs = {256: width, 257: height, 273: pixels_at, 278: height, 279: len(pixels)}
    entries = {tag: struct.pack(f"{order}HHIH2x", tag, 3, 1, value) for tag, value in shorts.items()}
    entries |= {tag: struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in longs.items()}
    entries[258] = struct.pack(f"{order}HHII", 258, 3, 3, bits_at)
    directory = b"".join(entries[tag] for tag in sorted(entries))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(entries))
    content = head + directory + bytes(4) + struct.pack(f"{order}3H", 16, 16, 16)
    assert len(content) == pixels_at
    return content + pixels


def folder_of(root: Path, train: dict[str, bytes], test: dict[str, bytes] | None = None) -> Path:
    """Write files by name into class folder "thing" of both splits, the same ones unless `test` is given."""
    for split, files in (("train", train), ("test", train if test is None else test)):
        (root / split / "thing").mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (root / split / "thing" / name).write_bytes(content)
    return root


def read(root: Path, split: str = "train", **how: Any) -> Examples:
    return read_folder(str(root), split, SIZE, str(root.parent / "cache"), **how)


def grey(images: Examples) -> np.ndarray:
    """(N, H, W) of images whose three channels are the same."""
    assert torch.equal(images.inputs[:, 0], images.inputs[:, 1]) and torch.equal(
        images.inputs[:, 0], images.inputs[:, 2]
    )
    return images.inputs[:, 0].numpy().astype(int)


def colour(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


WHITE_IS_0 = TiffImagePlugin.ImageFileDirectory_v2()
WHITE_IS_0[262] = 0

DEEP = {
    "16 bits": of(WIDE * 257),
    "12 bits in 16": of(WIDE * 16),
    "8 bits in 16": of(WIDE),
    "16 bits, TIFF": of(WIDE * 257, "TIFF"),
    "16 bits, TIFF, packed": of(WIDE * 257, "TIFF", compression="tiff_deflate"),
    "16 bits, TIFF, 0 is white": of(65535 - WIDE * 257, "TIFF", tiffinfo=WHITE_IS_0),
    "16 bits, PGM": b"P5 16 16 65535\n" + (WIDE * 257).astype(">u2").tobytes(),
    "int32 to 255": of(WIDE.astype(np.int32), "TIFF"),
    "int32 to 65535": of(WIDE.astype(np.int32) * 257, "TIFF"),
    "int32, beyond 16 bits": of(WIDE.astype(np.int32) * 1_000_000, "TIFF"),
    "int32 about 0": of((WIDE.astype(np.int32) - 128) * 20, "TIFF"),
    "float to 1": of(WIDE.astype(np.float32) / 255, "TIFF"),
    "float to 1.02": of(WIDE.astype(np.float32) / 250, "TIFF"),
    "float to 255": of(WIDE.astype(np.float32), "TIFF"),
    "float to 65535": of(WIDE.astype(np.float32) * 257, "TIFF"),
    "float about 0": of(WIDE.astype(np.float32) / 127.5 - 1, "TIFF"),
    "16-bit colour": png_of_16_bits(colour(WIDE * 257)),
    "12 bits in 16-bit colour": png_of_16_bits(colour(WIDE * 16)),
    "12 bits in 16-bit colour with alpha": png_of_16_bits(np.dstack([WIDE * 16] * 3 + [np.full_like(WIDE, 65535)])),
    "12 bits in 16-bit grey with alpha": png_of_16_bits(np.dstack([WIDE * 16, np.full_like(WIDE, 65535)])),
    "12 bits in 16-bit colour, TIFF, Intel": tiff_of_16_bit_colour(colour(WIDE * 16), "<"),
    "12 bits in 16-bit colour, TIFF, Motorola": tiff_of_16_bit_colour(colour(WIDE * 16), ">"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_more_than_8_bits_are_kept_by_the_range_of_the_training_split(tmp_path: Path, kind: str) -> None:
    root = folder_of(tmp_path / "things", {"ramp.png": DEEP[kind]})
    images = read(root)
    assert np.abs(grey(images)[0] - RAMP).max() <= 1
    assert "1 of more than 8 bits" in images.notes[0]


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 1, (0, 1)),
        (0, 0.3, (0, 1)),
        (0, 255, (0, 255)),
        (40, 256, (0, 1023)),
        (0, 4080, (0, 4095)),
        (0, 4096, (0, 16383)),
        (0, 65535, (0, 65535)),
        (0, 1.02, (0, 1.02)),  # an interpolation's overshoot is no reason for a scale of bytes
        (3, 15, (0, 15)),
        (0, 70_000, (0, 70_000)),
        (-1024, 3071, (-1024, 3071)),
        (-1, 1, (-1, 1)),
    ],
)
def test_the_range_is_the_smallest_full_scale_that_holds_all_values(
    low: float, high: float, found: tuple[float, float]
) -> None:
    assert full_range(low, high) == found


def test_one_range_is_found_over_all_training_images_and_used_for_the_test_images(tmp_path: Path) -> None:
    dark, bright = WIDE // 8 * 16, WIDE * 16
    root = folder_of(tmp_path / "things", {"0.png": of(dark), "1.png": of(bright)}, {"2.png": of(dark)})
    train, test = read(root), read(root, "test")
    assert train.reading is not None and train.reading.value_range == (0, 4095)
    assert np.abs(grey(train)[0] - RAMP / 8).max() <= 1.5
    assert np.abs(grey(train)[1] - RAMP).max() <= 1
    assert (grey(test)[0] == grey(train)[0]).all()


def test_test_images_outside_the_range_are_clipped_and_counted(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "things", {"0.png": of(WIDE * 16)}, {"1.png": of(WIDE * 32), "2.png": of(WIDE)})
    assert (grey(read(root, "test"))[0] == (WIDE * 32 * (255 / 4095)).round().clip(0, 255)).all()
    said = "test: 2 image(s), 2 of more than 8 bits (0 became black, 4095 white), 1 of them with values outside that "
    assert any(f"{said}range, which were clipped." in note for note in read(root).notes)


def test_images_of_8_bits_stay_as_they_are_beside_deeper_ones(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "things", {"0.png": of(RAMP), "1.png": of(WIDE * 16)})
    assert np.abs(grey(read(root)) - RAMP).max() <= 1


@pytest.mark.parametrize("kind", ["16 bits", "float to 65535"])
def test_fractions_beside_larger_values_are_refused_with_a_file_of_each(tmp_path: Path, kind: str) -> None:
    root = folder_of(tmp_path / "things", {"0.tif": DEEP["float to 1"], "1.tif": DEEP[kind]})
    with pytest.raises(UserError) as refused:
        read(root)
    assert str(refused.value) == (
        f"{root}/train/thing/0.tif holds fractions from 0 to 1 and {root}/train/thing/1.tif values up to 65535, and one "
        "range has to fit all training images: convert one kind, or set data.value_range=[low,high]."
    )


def test_fractions_to_test_on_are_refused_where_the_training_images_are_integers(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "things", {"0.tif": DEEP["16 bits"]}, {"0.tif": DEEP["float to 1"]})
    with pytest.raises(
        UserError, match=r"test/thing/0.tif holds fractions from 0 to 1, and 0 is black and 65535 white"
    ):
        read(root)


def test_test_images_of_more_bits_than_any_training_image_are_refused_unless_a_range_is_stated(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "things", {"0.png": of(RAMP)}, {"0.png": of(WIDE * 257)})
    with pytest.raises(UserError, match=r"test/thing/0.png has more than 8 bits, and no training image had"):
        read(root)
    assert (grey(read(root, "test", value_range=(0, 65535))) == RAMP).all()


def test_a_stated_range_is_used_and_is_said_where_it_meets_no_image(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "things", {"0.png": of(WIDE * 16)})
    images = read(root, value_range=(0, 8160))
    assert np.abs(grey(images)[0] - RAMP / 2).max() <= 1
    root = folder_of(tmp_path / "others", {"0.png": of(RAMP)})
    said = "data.value_range=[0,4095] was not used: no image has more than 8 bits."
    assert said in read(root, value_range=(0, 4095)).notes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_by_name(tmp_path: Path, value: float) -> None:
    holed = WIDE.astype(np.float32)
    holed[3, 5] = value
    root = folder_of(tmp_path / "things", {"0.tif": of(WIDE.astype(np.float32), "TIFF"), "1.tif": of(holed, "TIFF")})
    with pytest.raises(UserError, match=r"train/thing/1.tif holds values that are no numbers \(NaN or infinite\)"):
        read(root)


def drawn(kind: str) -> bytes:
    """A black drawing whose shape is in the transparency: a ramp, or its right half where there is on and off alone."""
    half = np.where(RAMP > 127, 255, 0).astype(np.uint8)
    match kind:
        case "RGBA":
            return of(np.dstack([BLACK, BLACK, BLACK, RAMP]))
        case "LA":
            return of(np.dstack([BLACK, RAMP]))
        case "RGBA of 16 bits":
            return png_of_16_bits(np.dstack([BLACK, BLACK, BLACK, RAMP]).astype(np.uint16) * 257)
        case "LA of 16 bits":
            return png_of_16_bits(np.dstack([BLACK, RAMP]).astype(np.uint16) * 257)
        case "palette":
            picture = Image.fromarray(RAMP // 16, "P")
            picture.putpalette(bytes(48))
            return saved(picture, format="PNG", transparency=bytes(range(0, 256, 17)))
        case "palette, GIF":
            picture = Image.fromarray((half // 255).astype(np.uint8), "P")
            picture.putpalette(bytes(6))
            return saved(picture, format="GIF", transparency=0)
        case "a grey level":
            return of(np.where(half, 0, 7).astype(np.uint8), transparency=7)
        case "a grey level of 16 bits":
            return png_of_16_bits(np.where(half, 0, 777).astype(np.uint16), transparent=(777,))
        case "a colour of 16 bits":
            return png_of_16_bits(colour(np.where(half, 0, 777).astype(np.uint16)), transparent=(777, 777, 777))
    raise AssertionError(kind)


ON_OR_OFF = ["palette, GIF", "a grey level", "a grey level of 16 bits", "a colour of 16 bits"]
DRAWN = ["RGBA", "LA", "RGBA of 16 bits", "LA of 16 bits", "palette", *ON_OR_OFF]


@pytest.mark.parametrize("background", [None, 100])
@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_transparent_is_seen_on_the_background(tmp_path: Path, kind: str, background: int | None) -> None:
    root = folder_of(tmp_path / "things", {"0.png": drawn(kind)})
    images = read(root, background=background)
    opaque = (RAMP > 127) * 255 if kind in ON_OR_OFF else RAMP
    level = 255 if background is None else background
    tolerance = 8 if kind == "palette" else 1
    assert np.abs(grey(images)[0] - (255 - opaque) * (level / 255)).max() <= tolerance
    assert f"1 transparent (put on grey level {level} of 255)" in images.notes[0]


# How a viewer turns what a file of each EXIF orientation holds.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.T,
    6: lambda upright: np.rot90(upright),
    7: lambda upright: np.rot90(upright, 2).T,
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "16 bits", "16-bit TIFF"])
def test_an_image_is_turned_as_its_exif_data_ask_for(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = np.random.default_rng(0).integers(256, size=(SIZE, SIZE)).astype(np.uint8)
    held = np.ascontiguousarray(TURNS[orientation](upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind.startswith("16"):
        held = held.astype(np.uint16) * 257
    format_ = {"16 bits": "PNG", "16-bit TIFF": "TIFF"}.get(kind, kind)
    content = saved(Image.fromarray(held), format=format_, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    images = read(folder_of(tmp_path / "things", {"0.png": content}))
    assert (grey(images)[0] == upright).all()
    assert [said for said in images.notes if "1 turned upright" in said] == list(
        images.notes[:2] if orientation > 1 else []
    )


def test_a_photograph_on_its_side_is_the_one_that_was_saved_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = Image.fromarray(RAMP)
    contents = {"0.jpg": saved(ramp.rotate(90), format="JPEG", exif=exif, quality=100), "1.png": of(RAMP)}
    assert np.abs(grey(read(folder_of(tmp_path / "things", contents))) - RAMP).max() <= 1


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0no directory", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"])
def test_broken_exif_data_leave_the_image_as_it_is(tmp_path: Path, exif: bytes) -> None:
    contents = {"0.jpg": saved(Image.fromarray(RAMP), format="JPEG", exif=exif, quality=100)}
    assert np.abs(grey(read(folder_of(tmp_path / "things", contents))) - RAMP).max() <= 1


def several(kind: str, first: np.ndarray = BLACK, second: np.ndarray = RAMP) -> bytes:
    how = {"lossless": True} if kind == "WEBP" else {}
    return saved(Image.fromarray(first), format=kind, save_all=True, append_images=[Image.fromarray(second)], **how)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_several_frames_are_refused_unless_one_is_chosen(tmp_path: Path, kind: str) -> None:
    root = folder_of(tmp_path / "things", {f"0.{kind.lower()}": several(kind), "1.png": of(RAMP)})
    with pytest.raises(UserError) as refused:
        read(root)
    assert str(refused.value) == (
        f"{root}/train/thing/0.{kind.lower()} has 2 frames or pages: choose one with data.frame (frame of embed and predict; 0 is the "
        "first), or split the file."
    )
    chosen = read(root, frame=1)
    assert (grey(chosen) == RAMP).all()
    assert "1 of several frames or pages (number 1 was taken)" in chosen.notes[0]
    assert np.abs(grey(read(root, frame=0))[0]).max() == 0
    with pytest.raises(UserError, match=r"0.\w+ has 2 frames or pages, and frame=2 counts from 0: choose a lower one"):
        read(root, frame=2)


def test_of_several_pages_in_16_bit_colour_the_lower_bytes_are_those_of_the_same_page(tmp_path: Path) -> None:
    first, second = (tiff_of_16_bit_colour(colour(values), "<") for values in (np.full_like(WIDE, 4080), WIDE * 16))
    pages = bytearray(first + second[8:])
    moved = len(first) - 8
    pages[118:122] = struct.pack("<I", len(first))  # where the next directory is
    for place, value in ((10 + 12 * 2 + 8, 122), (10 + 12 * 5 + 8, 128)):  # its bits a value, its pixels
        pages[moved + place : moved + place + 4] = struct.pack("<I", moved + value)
    root = folder_of(tmp_path / "things", {"0.tif": bytes(pages)})
    assert np.abs(grey(read(root, frame=1))[0] - RAMP).max() <= 1


def test_the_further_pictures_of_a_photograph_are_no_frames(tmp_path: Path) -> None:
    """Telephones put a preview or a gain map behind the photograph."""
    content = saved(
        Image.fromarray(colour(RAMP)),
        format="MPO",
        save_all=True,
        append_images=[Image.fromarray(colour(BLACK))],
        quality=100,
    )
    assert np.abs(grey(read(folder_of(tmp_path / "things", {"0.jpg": content})))[0] - RAMP).max() <= 1


def test_a_second_start_opens_no_image_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path / "things", {"0.png": of(WIDE * 16), "1.png": drawn("RGBA")})
    first = {split: read(root, split) for split in ("train", "test")}
    forbid_decoding(monkeypatch)
    for split, expected in first.items():
        again = read(root, split)
        assert torch.equal(again.inputs, expected.inputs)
        assert (again.reading, again.notes) == (expected.reading, expected.notes)


def test_each_setting_has_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path / "things", {"0.gif": several("GIF"), "1.png": drawn("RGBA"), "2.png": of(WIDE * 16)})
    settings = [{"frame": 0}, {"frame": 1}, {"frame": 0, "background": 0}, {"frame": 0, "value_range": (0, 9999)}]
    first = [read(root, **how).inputs for how in settings]
    assert not any(torch.equal(first[0], other) for other in first[1:])
    forbid_decoding(monkeypatch)
    for how, expected in zip(settings, first, strict=True):
        assert torch.equal(read(root, **how).inputs, expected)


def test_another_range_of_the_training_images_decodes_the_test_images_again(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "things", {"0.png": of(WIDE * 16)})
    assert np.abs(grey(read(root, "test"))[0] - RAMP).max() <= 1
    (root / "train" / "thing" / "1.png").write_bytes(of(WIDE * 257))
    assert np.abs(grey(read(root, "test"))[0] - RAMP / 16).max() <= 1
    assert len(names_in(tmp_path / "cache")) == 2


def test_a_cache_of_an_older_program_is_neither_used_nor_left(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "things", {"0.png": of(RAMP)})
    read(root)
    (cache,) = (tmp_path / "cache").glob("things-train-*")
    family = cache.name.partition("px-")[0]
    old = cache.with_name(f"{family}px-0123456789abcdef.npy")
    np.save(old, np.zeros((1, 3, SIZE, SIZE), np.uint8))
    cache.unlink()
    assert (grey(read(root))[0] == RAMP).all()
    assert not old.exists()


def test_loose_images_have_the_range_that_they_are_given_and_are_left_out_without_one(tmp_path: Path) -> None:
    write_image(tmp_path / "0.png", RAMP)
    (tmp_path / "1.png").write_bytes(of(WIDE * 16))
    (tmp_path / "2.gif").write_bytes(several("GIF"))
    (batch,) = LooseImages(tmp_path).decoded((SIZE, SIZE), 8)
    assert [image.name for image in batch.images] == ["0.png"]
    assert [name for name, _ in batch.unreadable] == ["1.png", "2.gif"]
    assert "has more than 8 bits, and no training image had" in batch.unreadable[0][1]
    assert "has 2 frames or pages" in batch.unreadable[1][1]
