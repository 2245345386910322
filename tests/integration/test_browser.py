"""TensorBoard and the pages as a browser shows them, of tiny runs that the public commands made."""

import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from scripts.board import NO_ORBIT, served
from scripts.browser import Browser, find
from tests.commands import ROOT, run_command
from tests.integration.conftest import TINY, TINY_PRETRAINING

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find() is None, reason="there is no Chromium here: apt-get install chromium"),
]

EACH_STEP = "trainer.log_every_n_steps=1"
SHOWN = [*(word for word in TINY if word not in ("logger=none", "callbacks=none")), EACH_STEP]
ARMS = ("scratch", "finetune")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A sweep over two arms with the autoencoder that one of them carries, and a VAE."""
    store = tmp_path_factory.mktemp("looked_at") / "outputs"
    for words in (
        ["-m", *SHOWN, f"transfer={','.join(ARMS)}"],
        [*TINY_PRETRAINING, "model=vae", "trainer.limit_train_batches=3", EACH_STEP],
    ):
        done = run_command("train", *words, env={"AETRANSFER_OUTPUT_DIR": str(store), "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
    return store


@pytest.fixture(scope="module")
def runs(store):
    return sorted(path for path in (store / "runs").glob("[!.]*"))


@pytest.fixture(scope="module")
def address(store, runs):
    with served(store, len(runs)) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with Browser(find()) as browser:
        yield browser


def assert_shows(png, colours):
    """A page that failed to draw is of a few colours, and mostly of one."""
    picture = Image.open(BytesIO(png)).convert("RGB")
    counts = sorted((count for count, _ in picture.getcolors(picture.width * picture.height)), reverse=True)
    assert len(counts) > colours
    assert counts[0] < 0.97 * picture.width * picture.height


# TensorBoard draws what is looked at: of many tags those that a filter leaves, in one section.
FILTERS = {
    "scalars": "(val|train)/(acc|nll|mse)|norm|per_second",
    "images": "view/reconstructions/val|traversals|mistakes",
}
TABS = {
    "timeseries": ["Pinned", "best", "test", "train", "watch"],
    "scalars": ["val/acc", "train/nll", "val/mse", "watch/optimizer/gradient_norm", "watch/system/images_per_second"],
    "custom_scalars": ["training and validation", "acc", "neg_elbo"],
    "images": ["view/reconstructions/val", "view/latents/traversals", "view/mistakes"],
    "text": ["python -m aetransfer.train", "latent_dim"],
    "hparams": ["TABLE VIEW", "best/val/acc", "test/acc", "arm", *ARMS],
    "projector": ["codes of test images", "Points: 360", "Total variance described"],
}


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_of_tensorboard_shows_the_runs_by_name_and_what_was_logged(browser, address, runs, tab):
    browser.resize(1500, 1000)
    browser.open(f"{address}#{tab}&tagFilter={quote(FILTERS[tab])}" if tab in FILTERS else f"{address}#{tab}")

    browser.wait_for_words([] if tab == "hparams" else [run.name for run in runs])
    browser.wait_for_words(TABS[tab])
    assert_shows(browser.screenshot(NO_ORBIT if tab == "projector" else "null"), 200)
    _, inactive, shown = browser.seen().lower().partition("inactive")  # the last word of TensorBoard's own bar
    assert inactive
    assert not re.search(r"\b(error|failed|no data|not found)\b", shown[:2000])


@pytest.mark.parametrize("width", [1200, 400])
def test_pages_of_a_sweep_and_of_its_runs_fit_a_desk_and_a_phone_and_lead_to_each_other(browser, store, width):
    browser.resize(width, 1000)
    (index,) = store.glob("sweeps/*/report/index.html")
    browser.open(index.as_uri())
    browser.wait_for_words(["Test metrics", "2 finished runs", "How the numbers are made"])
    fits(browser, width)
    links = browser.ask("[...document.links].map(link => link.href)")
    assert len(links) == 3  # two transfers, and the pretraining that one of them carries

    browser.open(next(link for link in links if "-finetune-" in link))
    browser.wait_for_words(
        ["Final numbers", "Its control, transfer=scratch with the same seed", "classifier on photo_digits"]
    )
    fits(browser, width)
    assert_shows(browser.screenshot(), 100)

    browser.open(browser.ask("[...document.links].find(link => link.href.includes('/pretrain-')).href"))
    browser.wait_for_words(["Pretraining: autoencoder of digits", "Validation images, their reconstructions"])
    fits(browser, width)


def fits(browser, width):
    """Nothing is cut off at the right, all pictures are drawn, and the text is dark on white."""
    assert browser.ask("document.documentElement.scrollWidth") <= width
    browser.wait("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.ask("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("getComputedStyle(document.body).color") == "rgb(26, 26, 26)"


def test_the_docs_screenshots_are_taken_of_a_store_of_runs(store, tmp_path):
    done = subprocess.run(
        [sys.executable, "scripts/screenshots.py", str(store), str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert {path.stem for path in tmp_path.glob("*.png")} == {
        *("tensorboard_scalars", "tensorboard_images", "tensorboard_projector", "tensorboard_hparams", "run_page")
    }
    for path in tmp_path.glob("*.png"):
        assert path.stat().st_size < 300_000, path
        assert_shows(path.read_bytes(), 20)


def test_a_browser_and_a_tensorboard_are_gone_whatever_happens_with_them(store):
    others = children(os.getpid())
    with pytest.raises(ZeroDivisionError), served(store, 1), Browser(find()) as browser:
        started = {browser.pid, *children(os.getpid())} - set(others)
        raise ZeroDivisionError

    assert len(started) >= 2
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
