"""Images are read in one way: by train, embed, predict, and `preprocess` of an encoder in anybody's program."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import aetransfer
from aetransfer import embed, evaluate, predict
from aetransfer.errors import UserError
from aetransfer.training import stages
from aetransfer.transfer.exported import FORMAT
from tests.integration.conftest import TINY, assert_refused, job_of
from tests.made import png_of_16_bits, write_image

RNG = np.random.default_rng(0)
RAMP = np.tile(np.linspace(0, 4095, 24).round().astype(np.uint16), (16, 1))
BRIEF = (*TINY[2:4], "trainer.max_epochs=1", "logger=none", "callbacks=none")
OF_12_BITS = ("data=image_folder", "data.image_size=12", "data.pad=2", "data.channels=1", "data.batch_size=4")


def write_12_bits(root):
    """Oblong 12-bit images in 16-bit PNGs: dark ones and bright ones."""
    for first, split in ((0, "train"), (6, "test")):
        for name, share in (("bright", 1), ("dark", 4)):
            for number in range(6):
                write_image(root / split / name / f"{number}.png", (RAMP // share) ^ (first + number) * 8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A transfer from scratch on grey 12-bit images with padding; nobody changes its directory."""
    store = tmp_path_factory.mktemp("deep")
    write_12_bits(store / "scans")
    words = [*OF_12_BITS, f"data.root={store}/scans", "transfer=scratch", *BRIEF, f"paths.output_dir={store}/outputs"]
    words.append(f"paths.cache_dir={store}/cache")
    return stages.run(job_of(*words), words).directory.path


@pytest.fixture
def pictures(tmp_path):
    """A folder of what people have: nothing in it is of the size, the channels or the depth that the run takes."""
    folder = tmp_path / "pictures"
    colour = RNG.integers(256, size=(20, 31, 3), dtype=np.uint8)
    write_image(folder / "oblong.png", colour)
    write_image(folder / "with_alpha.png", np.dstack([colour, colour[..., 0]]))
    write_image(folder / "deep.png", RAMP)
    (folder / "deep_colour.png").write_bytes(png_of_16_bits(np.dstack([RAMP, RAMP // 2, RAMP // 3])))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colour).save(folder / "turned.jpg", exif=exif)
    return folder


@pytest.fixture
def embedded(command, tmp_path):
    def call(*words):
        done = command(embed.main, *words, f"out={tmp_path}/f.npz")
        table = np.load(tmp_path / "f.npz") if done.code != 1 else {"image": np.array([]), "features": None}
        return done, dict(zip(table["image"].tolist(), table["features"], strict=True)) if len(table["image"]) else {}

    return call


def codes_of(encoder, folder, names):
    with torch.inference_mode():
        return {name: encoder(encoder.preprocess(folder / name)[None])[0].numpy() for name in names}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys() and len(ours)
    for name, code in theirs.items():
        assert np.allclose(ours[name], code, atol=1e-6), name
    assert len(ours) == 1 or np.ptp(np.stack(list(ours.values())), axis=0).max() > 1e-3


def test_preprocess_gives_the_codes_of_embed(run, pictures, embedded):
    encoder = aetransfer.load_encoder(run)
    done, table = embedded(f"run={run}", f"images={pictures}")

    assert done.code == 0, done.err
    assert set(table) == {"oblong.png", "with_alpha.png", "deep.png", "deep_colour.png", "turned.jpg"}
    assert_same(codes_of(encoder, pictures, table), table)


@pytest.mark.parametrize("name", ["oblong.png", "with_alpha.png", "deep.png", "deep_colour.png", "turned.jpg"])
def test_an_opened_image_is_read_as_its_file_is(run, pictures, name):
    preprocess = aetransfer.load_encoder(run).preprocess
    by_path = preprocess(pictures / name)

    assert by_path.shape == (1, 16, 16) and by_path.dtype == torch.float32
    assert by_path.min() >= 0 and by_path.max() <= 1
    assert torch.equal(preprocess(str(pictures / name)), by_path)
    with Image.open(pictures / name) as image:
        assert torch.equal(preprocess(image), by_path)


def test_preprocess_pads_crops_and_scales_as_the_training_images_were(run, pictures):
    image = aetransfer.load_encoder(run).preprocess(pictures / "deep.png")[0]
    middle = RAMP[:, 4:20] * (255 / 4095)
    expected = Image.fromarray(middle.round().astype(np.uint8)).resize((12, 12), Image.Resampling.BICUBIC)

    assert torch.equal(image[2:14, 2:14], torch.from_numpy(np.array(expected)).float() / 255)
    assert image.sum() == image[2:14, 2:14].sum() > 0


def test_images_turned_and_upright_have_the_same_code(run, tmp_path):
    pixels = RNG.integers(256, size=(16, 24), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "upright.png")
    Image.fromarray(np.rot90(pixels, 2)).save(tmp_path / "turned.png", exif=exif)
    preprocess = aetransfer.load_encoder(run).preprocess

    assert torch.equal(preprocess(tmp_path / "upright.png"), preprocess(tmp_path / "turned.png"))


@pytest.mark.parametrize("place", ["the file alone", "a checkpoint", "an older file beside its card"])
def test_an_encoder_keeps_its_preprocessing_wherever_it_is_loaded_from(run, pictures, tmp_path, place, embedded):
    encoder = aetransfer.load_encoder(run)
    match place:
        case "the file alone":
            file = shutil.copy(run / "encoder.safetensors", tmp_path / "mine.safetensors")
        case "a checkpoint":
            file = run / "checkpoints" / "best.ckpt"
        case _:
            file = old_file(run, tmp_path / "old")
            card = json.loads((run / "encoder.json").read_text())
            (file.parent / "encoder.json").write_text(json.dumps(card))

    assert aetransfer.load_encoder(file).preprocess == encoder.preprocess
    _, table = embedded(f"run={file}", f"images={pictures}")
    assert_same(codes_of(encoder, pictures, table), table)


def old_file(run, folder):
    """Write the run's encoder as programs did that stored no preprocessing."""
    folder.mkdir()
    architecture = {"_target_": "aetransfer.networks.conv4.Conv4", "widths": [4, 8, 8, 8], "latent_dim": 8}
    header = {FORMAT: json.dumps({**architecture, "in_channels": 1, "image_size": 16})}
    save_file(load_file(run / "encoder.safetensors"), folder / "encoder.safetensors", metadata=header)
    return folder / "encoder.safetensors"


def test_an_older_run_is_padded_as_its_card_says(run, tmp_path):
    file = old_file(run, tmp_path / "old")
    card = json.loads((run / "encoder.json").read_text())
    card["input"] = {"channels": 1, "size": 16, "pad": 3, "range": [0, 1]}
    (file.parent / "encoder.json").write_text(json.dumps(card))
    preprocess = aetransfer.load_encoder(file).preprocess

    assert (preprocess.pad, preprocess.reading.background, preprocess.reading.value_range) == (3, 255, None)


def test_an_encoder_that_does_not_say_how_its_images_were_made_says_that(run, pictures, tmp_path, embedded):
    file = old_file(run, tmp_path / "old")
    encoder = aetransfer.load_encoder(file)
    with pytest.warns(UserWarning, match="does not say how its images were made, .*: no padding is assumed"):
        assert encoder.preprocess(pictures / "oblong.png").shape == (1, 16, 16)
    done, table = embedded(f"run={file}", f"images={pictures}")

    assert "does not say how its images were made" in done.out
    assert done.code == 2 and "deep.png" not in table  # nor which value is white


@pytest.mark.parametrize(
    "said", ['"pad": 8', '"pad": -1', '"background": 300', '"value_range": [3, 1]', '"frame": "a"']
)
def test_a_header_that_says_nonsense_of_its_images_is_refused(run, tmp_path, said):
    file = old_file(run, tmp_path / "old")
    header = {"_target_": "aetransfer.networks.conv4.Conv4", "in_channels": 1, "image_size": 16, "latent_dim": 8}
    damaged = json.dumps(header)[:-1] + f', "preprocessing": {{{said}}}}}'
    save_file(load_file(file), file, metadata={FORMAT: damaged})

    with pytest.raises(UserError, match=r"encoder.safetensors is damaged"):
        aetransfer.load_encoder(file)


def test_what_was_done_stands_in_the_result_the_log_and_the_card(run_train, tmp_path):
    write_12_bits(tmp_path / "scans")
    run = run_train(*OF_12_BITS, f"data.root={tmp_path}/scans", "transfer=scratch", *BRIEF).run
    said = "12 image(s), 12 of more than 8 bits (0 became black, 4095 white)"
    notes = [f"{tmp_path}/scans/{split}: {said}." for split in ("train", "test")]

    assert json.loads((run / "result.json").read_text())["data"]["notes"] == notes
    log = (run / "train.log").read_text()
    assert [log.count(f"{note}\n") for note in notes] == [1, 1]
    stored = json.loads((run / "encoder.json").read_text())["input"]
    assert {key: stored[key] for key in ("pad", "background", "value_range", "frame")} == {
        "pad": 2,
        "background": 255,
        "value_range": [0, 4095],
        "frame": None,
    }


def test_of_a_usual_set_there_is_nothing_to_note(finished):
    assert json.loads((finished / "result.json").read_text())["data"]["notes"] == []


def test_values_outside_the_range_are_clipped_and_counted_by_embed_and_predict(run, tmp_path, command):
    write_image(tmp_path / "images" / "0.png", RAMP * 2)
    write_image(tmp_path / "images" / "1.png", RAMP)
    for apply in (embed, predict):
        done = command(apply.main, f"run={run}", f"images={tmp_path}/images", f"out={tmp_path}/t.csv")
        assert done.code == 0, done.err
        assert (
            "2 image(s), 2 of more than 8 bits (0 became black, 4095 white), 1 of them with values outside that range, "
            "which were clipped." in done.out
        )


@pytest.mark.parametrize("apply", [embed, predict])
def test_several_frames_are_refused_unless_one_is_named(finished, tmp_path, command, apply):
    (tmp_path / "images").mkdir()
    frames = [Image.fromarray(np.full((32, 32), level, np.uint8)) for level in (0, 255)]
    frames[0].save(tmp_path / "images" / "two.gif", save_all=True, append_images=frames[1:])
    words = (f"run={finished}", f"images={tmp_path}/images", f"out={tmp_path}/t.npz")

    assert_refused(
        command(apply.main, *words),
        "None of the 1 image(s) can be read; the first: two.gif has 2 frames or pages: choose one with data.frame "
        "(frame of embed and predict; 0 is the first), or split the file.",
    )
    assert command(apply.main, *words, "frame=1").code == 0
    with Image.open(tmp_path / "images" / "two.gif") as image:
        preprocess = aetransfer.load_encoder(finished).preprocess
        with pytest.raises(UserError, match=r"two.gif has 2 frames or pages: choose one"):
            preprocess(image)
        image.seek(1)  # that names one
        assert (preprocess(image) == 1).all()


def test_more_bits_than_the_training_images_had_need_a_stated_range(finished, tmp_path, embedded):
    write_image(tmp_path / "images" / "deep.png", RAMP[:, :16] * 16)
    write_image(tmp_path / "images" / "shallow.png", (RAMP[:, :16] * (255 / 4095)).round().astype(np.uint8))
    done, table = embedded(f"run={finished}", f"images={tmp_path}/images")

    assert done.code == 2 and list(table) == ["shallow.png"]
    assert "unreadable: deep.png has more than 8 bits, and no training image had" in done.err
    done, table = embedded(f"run={finished}", f"images={tmp_path}/images", "value_range=[0,65535]")
    assert done.code == 0
    assert np.allclose(table["deep.png"], table["shallow.png"], atol=1e-2)


def test_transparency_is_put_on_the_background_that_is_asked_for(run, tmp_path, embedded):
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[4:12, 4:12, 3] = 255
    write_image(tmp_path / "images" / "0.png", pixels)
    for background, expected in (("null", 255), (90, 90)):
        seen = np.full((16, 16), expected, np.uint8)
        seen[4:12, 4:12] = 0
        write_image(tmp_path / "seen" / "0.png", seen)
        done, ours = embedded(f"run={run}", f"images={tmp_path}/images", f"background={background}")
        assert f"1 transparent (put on grey level {expected} of 255)" in done.out
        assert_same(ours, embedded(f"run={run}", f"images={tmp_path}/seen")[1])


@pytest.mark.parametrize("apply", [embed, predict, evaluate])
def test_a_data_set_of_another_range_is_read_by_its_own_and_that_is_said(run, tmp_path, command, apply):
    for split in ("train", "test"):
        for name in ("bright", "dark"):
            for number in range(3):
                write_image(tmp_path / "others" / split / name / f"{number}.png", RAMP * 16)
    words = [f"run={run}", *OF_12_BITS[:3], f"data.root={tmp_path}/others"]
    if apply is not evaluate:
        words.append(f"out={tmp_path}/t.csv")
    done = command(apply.main, *words)

    assert done.code == 0, done.err
    assert "In these data 0 is black and 65535 white; in the encoder's training 0 was black and 4095 white:" in done.out
    assert "In these data" not in command(apply.main, *words, "data.value_range=[0,4095]").out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("data=image_folder data.root=D data.value_range=[5,1]", "data.value_range=[5,1] should be [low,high] with low < high."),
        ("data=image_folder data.root=D data.background=300", "data.background=300 should be less than or equal to 255."),
        ("data=image_folder data.root=D data.frame=-1", "data.frame=-1 should be greater than or equal to 0."),
        ("data=digits data.background=0", "data.background belongs to data=image_folder, data=image_table, of which none is chosen."),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_before_torch_is_imported(torchless, words, sentence):
    done = torchless("train", *words.split())

    assert done.err.startswith(f"error: {sentence}")
    assert done.code == 1 and not done.torch


@pytest.mark.parametrize("word", ["pad=2", "background=0", "value_range=[0,1]", "frame=0"])
def test_how_images_are_read_is_not_asked_of_a_data_set(torchless, finished, word):
    key = word.partition("=")[0]
    assert_refused(
        torchless("embed", f"run={finished}", "data=digits", "out=f.csv", word),
        f"{key} belongs to images=: a data set has data.{key}.",
    )


@pytest.mark.parametrize("what", ["NaN", "two frames"])
def test_training_names_the_file_that_cannot_be_used(run_train, tmp_path, what):
    write_12_bits(tmp_path / "scans")
    path = tmp_path / "scans" / "test" / "dark" / "9.tif"
    if what == "NaN":
        write_image(path, np.full((16, 16), np.nan, np.float32))
        sentence = f"{path} holds values that are no numbers (NaN or infinite): replace or remove it."
    else:
        frames = [Image.fromarray(RAMP), Image.fromarray(RAMP // 2)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
        sentence = (
            f"{path} has 2 frames or pages: choose one with data.frame (frame of embed and predict; 0 is the first), or "
            "split the file."
        )

    done = run_train(*OF_12_BITS, f"data.root={tmp_path}/scans", "transfer=scratch", *BRIEF)
    assert done.err.endswith(f"error: {sentence}\n") and done.code == 1


def test_black_images_are_said_before_training(run_train, tmp_path):
    for split in ("train", "test"):
        for number in range(4):
            write_image(tmp_path / "black" / split / "thing" / f"{number}.png", np.zeros((16, 16), np.uint8))
            write_image(tmp_path / "black" / split / "other" / f"{number}.png", np.zeros((16, 16), np.uint8))
    done = run_train(*OF_12_BITS, f"data.root={tmp_path}/black", "transfer=scratch", *BRIEF)

    before, _, _ = done.out.partition("epochs")
    assert "All 6 training images are the same, and of one value: look at the files" in before


READER = """
import torch
from aetransfer.data.examples import Examples

def read(split, kind):
    pixels, labels = torch.randint(256, (8, 1, 16, 16), dtype=torch.uint8), torch.arange(8) % 2
    if kind == "floats":
        pixels = pixels / 255
    if kind == "a third class":
        labels = labels + 1
    return None if kind == "nothing" else Examples(pixels, labels, names=("a", "b"))
"""


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (
            "floats",
            "The train inputs are torch.float32, and data.channels and data.image_size are of images with 8 bits: leave both "
            "out, and the data say what they are.",
        ),
        ("a third class", "A reader's targets go from 1 to 2, but it has 2 names: give 0 to 1."),
        (
            "nothing",
            "The reader gives NoneType for the train split: it has to return an aetransfer.data.examples.Examples, or a "
            "torch.utils.data.Dataset of images and labels.",
        ),
    ],
)
def test_what_a_reader_of_ones_own_gives_wrong_is_a_sentence(
    run_train, write_config, tmp_path, monkeypatch, kind, sentence
):
    (tmp_path / "my_reader.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path)
    node = f"{{_target_: my_reader.read, kind: {kind}}}"
    words = write_config(
        **{"data/mine": f"defaults: [_base]\nname: mine\nchannels: 1\nimage_size: 16\nreader: {node}\n"}
    )
    done = run_train(*words, "data=mine", "allow=[my_reader]", "transfer=scratch", *BRIEF)

    assert done.err == f"error: {sentence}\n" and done.code == 1
