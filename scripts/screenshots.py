"""The screenshots of the docs, from a store of real runs: python scripts/screenshots.py STORE FOLDER.

STORE is an output directory in which a sweep over transfers, from a pretraining with pictures, has finished. FOLDER
gets tensorboard_scalars, tensorboard_images, tensorboard_projector, tensorboard_hparams and run_page, each a PNG.
Each is taken of a page that shows what it should, or not at all. Needs Chromium.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from board import NO_ORBIT, served
from browser import Browser, BrowserError, find
from PIL import Image

SIZE = (1500, 1000)
# Twelve rows of traversals above rows of 16 images, at their own size.
WIDE = (1660, 1210)
# A page is as high as it is; of a long one the top says enough.
PAGE_WIDTH, PAGE_HEIGHT = 1200, 2400
# A screenshot has few colours, but for its photographs; as a palette it takes a third of the bytes.
COLOURS = 128


@dataclass(frozen=True)
class Runs:
    """transfer: the one whose codes and page are shown. pretraining: whose pictures. all: how many curves there are."""

    transfer: Path
    pretraining: Path
    all: int


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    store, folder = Path(sys.argv[1]), Path(sys.argv[2])
    program = find()
    if program is None:
        sys.exit("error: there is no Chromium: apt-get install chromium.")
    runs = runs_to_show(store)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with served(store, runs.all) as address, Browser(program, *SIZE) as browser:
            for name, picture in taken(browser, address, runs):
                path = folder / f"{name}.png"
                path.write_bytes(compact(picture))
                print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    except BrowserError as error:
        sys.exit(f"error: {error}")


def runs_to_show(store: Path) -> Runs:
    """Choose the runs. A fine-tuned transfer and a VAE have most to show."""
    events = {path.parent.name: path.parent for path in sorted(store.glob("runs/*/events.out.tfevents.*"))}
    transfers = [path for name, path in events.items() if name.startswith("transfer-")]
    pretrainings = [path for path in events.values() if (path / "interpolations.png").is_file()]
    if not transfers or not pretrainings:
        sys.exit(f"error: {store} needs a transfer, and a pretraining with pictures, that were logged for TensorBoard.")
    return Runs(
        max(transfers, key=lambda path: "-finetune-" in path.name),
        max(pretrainings, key=lambda path: "-vae-" in path.name),
        len(events),
    )


def taken(browser: Browser, address: str, runs: Runs) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the PNG of each screenshot."""
    tabs = {
        "tensorboard_scalars": scalars,
        "tensorboard_images": images,
        "tensorboard_projector": projector,
        "tensorboard_hparams": hparams,
    }
    for name, show in tabs.items():
        browser.resize(*SIZE)
        show(browser, address, runs)
        yield name, browser.screenshot(NO_ORBIT if show is projector else "null")
    run_page(browser, runs)
    yield "run_page", browser.screenshot()


def scalars(browser: Browser, address: str, runs: Runs) -> None:
    stage = runs.transfer.name.partition("-")[0]
    shown = "^(train|val)/(acc|nll)|lr/(encoder|head)|gradient"
    browser.open(f"{address}#scalars&regexInput={quote(f'^runs/{stage}')}&tagFilter={quote(shown)}")
    browser.wait_for_words(["val/acc", "train/nll", runs.transfer.name])


def images(browser: Browser, address: str, runs: Runs) -> None:
    """Show how images are reconstructed, and what each latent of a VAE moves."""
    latents = "traversals" if (runs.pretraining / "traversals.png").is_file() else "interpolations"
    browser.resize(*WIDE)
    browser.open(
        f"{address}#images&regexInput={runs.pretraining.name}&tagFilter={quote(f'reconstructions/val|{latents}')}"
    )
    browser.wait_for_words(["reconstructions", latents])
    browser.ask("deep('paper-checkbox').find(box => box.textContent.includes('actual image size')).click()")
    browser.wait("deep('#main-image-container img, tf-image-loader img').every(image => image.complete)")


def projector(browser: Browser, address: str, runs: Runs) -> None:
    """Show a transfer's codes in the colours of their classes."""
    panel = "deep('vz-projector-data-panel')[0]"
    browser.open(f"{address}#projector")
    browser.wait(f"{panel}?.runNames?.length")
    browser.ask(f"{panel}.selectedRun = {panel}.runNames.find(name => name.endsWith('{runs.transfer.name}'))")
    browser.wait(f"{panel}.colorOptions?.some(option => option.name === 'class')")
    browser.wait_for_words(["Points: ", "Total variance described"])
    browser.ask(f"{panel}.selectedColorOptionName = {panel}.selectedLabelOption = 'class'")


def hparams(browser: Browser, address: str, runs: Runs) -> None:
    browser.open(f"{address}#hparams")
    browser.wait_for_words(["TABLE VIEW", "best/val/acc", "test/acc", "arm"])


def run_page(browser: Browser, runs: Runs) -> None:
    browser.resize(PAGE_WIDTH, PAGE_HEIGHT)
    browser.open((runs.transfer / "report.html").absolute().as_uri())
    browser.wait_for_words(["Final numbers", "Learning curves", "classifier on"])
    browser.wait("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def compact(png: bytes) -> bytes:
    """Return a PNG of the same picture in at most COLOURS colours."""
    small = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        small, "png", optimize=True
    )
    return small.getvalue()


if __name__ == "__main__":
    main()
