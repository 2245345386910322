"""Readers of pictures whose targets are values or many labels: a tenth of a second of training."""

import torch

from aetransfer.data.examples import Examples

SIZE = 8
COUNTS = {"train": 96, "test": 40}
NAMES = ("height", "depth")
LABELS = ("top", "bottom", "never")


def discs(split, values=2, constant=None):
    """Grey pictures of one brightness and slope each, with what they say in units of their own.

    height is 100 to 110 m, depth .001 to .002 km. constant: the split of which the first value never varies.
    """
    generator = torch.Generator().manual_seed(int(split == "test"))
    bright, slope = torch.rand(2, COUNTS[split], generator=generator)
    ramp = torch.linspace(-0.5, 0.5, SIZE)
    pixels = 0.25 + bright.view(-1, 1, 1, 1) * 0.5 + 0.5 * (slope - 0.5).view(-1, 1, 1, 1) * ramp
    targets = torch.stack([100 + 10 * bright, 0.001 + 0.001 * slope], 1)[:, :values]
    if constant in (split, "both"):
        targets[:, 0] = 104.0
    images = (pixels.expand(-1, 1, SIZE, SIZE) * 255).round().to(torch.uint8)
    return Examples(images, targets.contiguous(), names=NAMES[:values])


def turned(split):
    """The same pictures with the same values, in another order."""
    same = discs(split)
    return Examples(same.inputs, same.targets.flip(1).contiguous(), names=same.names[::-1])


def sorts(split):
    """The same pictures as classes: low, or high."""
    same = discs(split)
    return Examples(same.inputs, (same.targets[:, 0] > 105).long(), names=("low", "high"))


def lamps(split, never=True):
    """Pictures with a light half above, or below, or neither or both; the third label is never there, or always."""
    generator = torch.Generator().manual_seed(int(split == "test"))
    labels = torch.rand(COUNTS[split], 2, generator=generator) < 0.4
    images = torch.randint(90, (COUNTS[split], 1, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    images[labels[:, 0], :, : SIZE // 2] += 120
    images[labels[:, 1], :, SIZE // 2 :] += 120
    third = torch.zeros(COUNTS[split], 1, dtype=torch.bool) if never else labels[:, :1] & labels[:, 1:]
    return Examples(images, torch.cat([labels, third], 1), names=LABELS)


def words(reader, *more, model):
    """The words of a command that trains a model on them."""
    return (
        *("data=digits", f"data.name={reader}", f"data.reader._target_={__name__}.{reader}", "allow=[tests]"),
        *("data.classes=null", f"data.image_size={SIZE}", f"model={model}"),
        *(() if model == "ae" else ("transfer=scratch",)),
        *("encoder.widths=[4,8]", "encoder.latent_dim=8", "trainer.max_epochs=2", "optimizer.lr=0.01"),
        *("logger=none", "callbacks=none", *more),
    )
