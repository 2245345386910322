"""How well inputs come back, beside PCA and their mean: MSE, and of pixels PSNR and SSIM, without their padding."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from aetransfer.config.shapes import one_of
from aetransfer.data.batches import content
from aetransfer.evaluation.features import check_finite, fit_pca
from aetransfer.evaluation.measure import Measure, Subject
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.models.capabilities import Reconstructs

BATCH = 250


# SSIM mirrors images by so many pixels beyond their borders.
MIRRORED = 5


def scores(images: Tensor, reconstructions: Tensor) -> dict[str, Tensor]:
    """Score (N, C, H, W) in [0, 1]: mse, psnr in dB (of a peak of 1) and ssim of each image, (N,) each.

    SSIM as in Wang et al. 2004: Gaussian window of 11 pixels, sigma 1.5, K1 = .01, K2 = .03, images mirrored
    beyond their borders, averaged over pixels and channels; none of images of 5 pixels or fewer. An exact
    reconstruction has infinite psnr.
    """
    mse = (images - reconstructions).square().mean((1, 2, 3))
    if min(images.shape[2:]) <= MIRRORED:
        return {"mse": mse, "psnr": -10 * mse.log10()}
    ssim = structural_similarity_index_measure(reconstructions, images, data_range=1.0, reduction="none")
    assert isinstance(ssim, Tensor)
    return {"mse": mse, "psnr": -10 * mse.log10(), "ssim": ssim.view(len(images))}


class Reconstruction(Measure):
    """MSE beside that of PCA, of pixels PSNR and SSIM too; there is nothing to set."""

    needs = "reconstruct"

    def __call__(self, subject: Subject) -> Outcome:
        model, encoder, data = subject.model, subject.encoder, subject.data
        assert isinstance(model, Reconstructs)

        def crop(inputs: Tensor) -> Tensor:
            return content(inputs, data.margin)

        def measured(inputs: Tensor) -> Tensor:
            """Return what is compared, on the CPU: pixels, or standardised inputs, so that no unit decides."""
            return crop(inputs if encoder.takes_pixels else encoder.normalise(inputs)).float().cpu()

        subject.open("train")
        flat = (measured(inputs).flatten(1) for inputs, _ in data.in_order("train", BATCH, subject.device))
        pca, word = fit_pca(flat, data.count("train"), encoder.latent_dim)
        shape = crop(data.first_inputs("train", 1)).shape[1:]

        def linear(inputs: Tensor) -> Tensor:
            return pca.inverse(pca(measured(inputs).flatten(1))).view(-1, *shape)

        ways: dict[str, Callable[[Tensor], Tensor]] = {
            subject.job.model.name: lambda inputs: measured(model.reconstruct(inputs)),
            f"pca, {pca.components.shape[1]} components": linear,
            f"mean {one_of(data.shape)}": lambda inputs: pca.mean.view(1, *shape).expand(len(inputs), *shape),
        }
        subject.open(subject.part)
        score = scores if encoder.takes_pixels else squared_errors
        rows = [{"reconstructed by": name, **_mean_scores(subject, measured, score, way)} for name, way in ways.items()]
        return Outcome(rows, notes=[_units(subject, shape), *([word] if word else [])])


def squared_errors(inputs: Tensor, reconstructions: Tensor) -> dict[str, Tensor]:
    """Score standardised inputs (N, *shape): the mse of each, (N,)."""
    return {"mse": (inputs - reconstructions).square().flatten(1).mean(1)}


def _units(subject: Subject, shape: Sequence[int]) -> str:
    over = f"Means over the {subject.data.noun} of {subject.part}"
    if not subject.encoder.takes_pixels:
        return (
            f"{over}. mse: of inputs standardised by the encoder, each {'feature' if len(shape) == 1 else 'channel'} "
            "by its mean and deviation in training: 1 is about what this mean alone leaves. A model with a posterior "
            "decodes its mean."
        )
    _, height, width = shape
    ssim = "; ssim: 11x11 Gaussian window, sigma 1.5" if min(height, width) > MIRRORED else ""
    return (
        f"{over}, on the {height}x{width} pixels that hold the image. mse: pixels in [0, 1]; psnr: dB{ssim}. A model "
        "with a posterior decodes its mean, of the grey image."
    )


@torch.no_grad()
def _mean_scores(
    subject: Subject,
    measured: Callable[[Tensor], Tensor],
    score: Callable[[Tensor, Tensor], dict[str, Tensor]],
    way: Callable[[Tensor], Tensor],
) -> dict[str, Cell]:
    found: dict[str, list[Tensor]] = {}
    for inputs, _ in subject.data.in_order(subject.part, BATCH, subject.device):
        reconstructions = way(inputs)
        check_finite(reconstructions)
        for name, values in score(measured(inputs), reconstructions).items():
            found.setdefault(name, []).append(values.double())
    return {name: torch.cat(values).mean().item() for name, values in found.items()}
