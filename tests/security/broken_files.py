"""Data, encoder, checkpoint and run files that are broken where it can be noticed: never in the pixels, where it can't.

Each recipe spoils one file of a sound set, in place, in a way of its own choosing.
"""

import gzip
import json
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

from aetransfer.files import LOADER

Spoil = Callable[[random.Random, Path], None]


def cut_short(draw: random.Random, path: Path) -> None:
    content = path.read_bytes()
    # JSON without its last line feed is still JSON.
    path.write_bytes(content[: draw.randrange(len(content) - 1)])


def emptied(draw: random.Random, path: Path) -> None:
    path.write_bytes(b"")


def a_folder_in_its_place(draw: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_another_kind(draw: random.Random, path: Path) -> None:
    """Text, noise, a PNG's or a zip's beginning, a pickle."""
    beginnings = [b"seed: 0\n", b"{}", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\x80\x04N.", b"\x1f\x8b\x08", b"\0" * 8]
    path.write_bytes(draw.choice(beginnings) + draw.randbytes(draw.randrange(2000)))


def with_a_bit_flipped(first: int, last: int) -> Spoil:
    """Flip one bit between two places; negative ones count from the end."""

    def flip(draw: random.Random, path: Path) -> None:
        content = bytearray(path.read_bytes())
        begin, end = (place + len(content) if place < 0 else place for place in (first, last))
        content[draw.randrange(begin, end or len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(content))

    flip.__name__ = f"with_a_bit_flipped_in_{first}_{last}"
    return flip


def with_a_sibling_in_its_place(draw: random.Random, path: Path) -> None:
    sibling = draw.choice([other for other in sorted(path.parent.iterdir()) if other.suffix == path.suffix])
    if sibling == path:
        sibling = next(
            other for other in sorted(path.parent.iterdir()) if other != path and other.suffix == path.suffix
        )
    shutil.copy(sibling, path)


def claiming_too_much(draw: random.Random, path: Path) -> None:
    """An IDX header of up to 2^96 bytes."""
    is_gzipped = path.suffix == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if is_gzipped else path.read_bytes())
    sizes = (content[3],)
    struct.pack_into(f">{sizes[0]}I", content, 4, *(draw.randrange(2**20, 2**32) for _ in range(sizes[0])))
    path.write_bytes(gzip.compress(bytes(content)) if is_gzipped else bytes(content))


def a_label_too_many(draw: random.Random, path: Path) -> None:
    is_gzipped = path.suffix == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if is_gzipped else path.read_bytes())
    content[draw.randrange(8, len(content))] = draw.randrange(10, 256)
    path.write_bytes(gzip.compress(bytes(content)) if is_gzipped else bytes(content))


def of_huge_pixels(draw: random.Random, path: Path) -> None:
    """A sound PNG header of more pixels than any machine has room for."""
    header = struct.pack(">IIBBBBB", draw.randrange(2**16, 2**31), draw.randrange(2**16, 2**31), 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0" * 100)))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def in_the_safetensors_header(draw: random.Random, path: Path) -> None:
    """Flip a bit of the length, or of the JSON that says what is in the file."""
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    with_a_bit_flipped(0, 8 + length)(draw, path)


def a_header_that_lies(draw: random.Random, path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(path, framework="np") as opened:
        ((key, text),) = opened.metadata().items()
    lies = [
        {"latent_dim": draw.randrange(1000, 2**16)}, {"widths": [2**16, 2**16]}, {"hidden": [2**31]}, {"latent_dim": "8"},
        {"input_shape": draw.choice([[draw.choice([0, 2, 3, 4, -1, "1", None]), 32, 32], [1, *[draw.choice([16, 64, 10**9, "32", None])] * 2], [1, 32], [32], [], 32, None])},
        {"in_channels": 2, "image_size": 32, "input_shape": None}, {"untrained": draw.choice([["head"], "dense", 3, [[]]])},
        {"_target_": draw.choice(["os.system", "aetransfer.files.replace_file", "", 3, None])}, {"widths": "wide"},
        {"widths": []}, {"init": "uniform"}, {"batch_norm": True}, {"extra": 1}, {"latent_dim": -draw.randrange(9)},
    ]  # fmt: skip
    # Who lies leaves out the checksum, as files of earlier versions do.
    told = {name: value for name, value in json.loads(text).items() if name != "checksum"} | draw.choice(lies)
    save_file(load_file(path), path, metadata={key: json.dumps(told)})


def a_checkpoint_of_less(draw: random.Random, path: Path) -> None:
    """Sound to torch, but a part is missing or is something else."""
    content = torch.load(path, weights_only=True)
    state, hyper = content["state_dict"], content["hyper_parameters"]
    name = draw.choice(sorted(state))
    match draw.randrange(7):
        case 0:
            del state[name]
        case 1:
            state[name] = draw.choice([None, "weights", [1.0], 3])
        case 2:
            state[name] = torch.zeros(draw.randrange(1, 9), 3, 3, 3, 3)
        case 3:
            content["state_dict"] = draw.choice([None, [], {}, "state"])
        case 4:
            content["hyper_parameters"] = draw.choice([None, [], {}, {"architecture": None}])
        case 5:
            hyper["architecture"] = {**hyper["architecture"], "latent_dim": draw.randrange(300, 2**16)}
        case 6:
            content = draw.choice([[], None, {}, "checkpoint", torch.zeros(3)])
    torch.save(content, path)


def no_longer_yaml(draw: random.Random, path: Path) -> None:
    whole = path.read_text()
    while True:
        at = draw.randrange(len(whole))
        junk = draw.choice(
            ["\t", "[", "{", '"', ": :", "&", "*", "!", "@", "`", "%", "\x00", "!!python/name:os.system "]
        )
        text = whole[:at] + junk + whole[at:]
        try:
            # libyaml takes a few texts that Python's own reader refuses, such as a tab here and there.
            yaml.load(text, LOADER)
        except (yaml.YAMLError, ValueError):
            path.write_text(text)
            return


def a_config_that_is_none(draw: random.Random, path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    first, second = draw.choice(
        [("data", "image_size"), ("model", "_target_"), ("encoder", "latent_dim"), ("trainer", "max_epochs")]
    )
    match draw.randrange(6):
        case 0:
            config = draw.choice([None, [], "seed", 3, [config]])
        case 1:
            del config[draw.choice(["data", "encoder", "model", "trainer", "paths", "transfer", "head"])]
        case 2:
            config[first][second] = draw.choice([None, "x", [], -1, {"a": 1}, 2**40, float("nan"), True])
        case 3:
            config[first][f"{second}x"] = config[first].pop(second)
        case 4:
            config["encoder"]["widths"] = draw.choice([[2**16] * 3, [8, 8], [4, 8, 8, 9], [0], "wide"])
        case 5:
            # Without a name a model is called by its class.
            place, names = draw.choice([("data", ["../x", "", None, "a/b", ["ae"]]), ("model", ["../x", "", ["ae"]])])
            config[place]["name"] = draw.choice(names)
    path.write_text(yaml.safe_dump(config))


def a_result_that_is_none(draw: random.Random, path: Path) -> None:
    result = json.loads(path.read_text())
    match draw.randrange(4):
        case 0:
            result = draw.choice([None, [], "finished", 3, [result], {}])
        case 1:
            result["status"] = draw.choice([None, [], 3, {"is": "finished"}, True])
        case 2:
            del result["status"]
        case 3:
            path.write_text("[" * draw.randrange(5000, 10**5))
            return
    path.write_text(json.dumps(result))


def in_a_member_of_a_zip(draw: random.Random, path: Path) -> None:
    """Flip a bit of what the largest member holds, which its checksum tells."""
    with zipfile.ZipFile(path) as file:
        member = max(file.infolist(), key=lambda info: info.compress_size)
    first = member.header_offset + 30 + len(member.filename) + 40
    with_a_bit_flipped(first, first + member.compress_size - 40)(draw, path)


def a_npy_that_claims_more(draw: random.Random, path: Path) -> None:
    content = path.read_bytes()
    assert b"(6, 32, 32)" in content
    shape = draw.choice([b"(9, 32, 32)", b"(6, 99, 99)", b"(7, 32, 32)", b"(6,320, 32)"])
    path.write_bytes(content.replace(b"(6, 32, 32)", shape))


def a_npy_of_objects(draw: random.Random, path: Path) -> None:
    np.save(path, np.array([draw.random(), "text", None], object))


def a_table_of_less(draw: random.Random, path: Path) -> None:
    """Leave out a column's name, the lines, or a value, or put text or nothing in its place."""
    first, *lines = path.read_text().splitlines()
    cells = lines[row := draw.randrange(len(lines))].split(",")
    cells[draw.randrange(len(cells) - 1)] = draw.choice(["", "nan", "many", "inf", "1e999"])
    lines[row] = ",".join(cells)
    broken = [[first.replace("y", "z"), *lines], [first], [first, *lines], [first, *lines, "1," * 40]]
    path.write_text("\n".join(draw.choice(broken[:1]) if draw.random() < 0.2 else draw.choice(broken[1:])))


def a_ts_of_less(draw: random.Random, path: Path) -> None:
    """Leave out a header's line that matters, or spoil a signal's."""
    text = path.read_text()
    path.write_text(
        text.replace(
            *draw.choice(
                [
                    ("@data", ""),
                    ("@timeStamps false", "@timeStamps true"),
                    ("@classLabel true a b", "@classLabel true a c"),
                    ("@classLabel true", "@targetLabel true"),
                    ("@univariate true", "@univariate false\n@dimensions 2"),
                    ("0.5", "?"),
                    ("0.5", "half"),
                    ("0.5:", "0.5,:"),
                    ("0.5", "NaN"),
                    ("0.5", "0.5:0.5"),
                ]
            )
        )
    )
