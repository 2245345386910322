"""How well images come back: MSE, PSNR and SSIM on the crop that holds the image, beside PCA and the mean image."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from aetransfer.data.batches import content
from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.numbers import check_finite
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.evaluation.principal import fit_pca
from aetransfer.evaluation.subject import Subject
from aetransfer.models.capabilities import Reconstructs

BATCH = 250


def scores(images: Tensor, reconstructions: Tensor) -> dict[str, Tensor]:
    """Score (N, C, H, W) in [0, 1]: mse, psnr in dB (of a peak of 1) and ssim of each image, (N,) each.

    SSIM as in Wang et al. 2004: Gaussian window of 11 pixels, sigma 1.5, K1 = .01, K2 = .03, images mirrored
    beyond their borders, averaged over pixels and channels. An exact reconstruction has infinite psnr.
    """
    mse = (images - reconstructions).square().mean((1, 2, 3))
    ssim = structural_similarity_index_measure(reconstructions, images, data_range=1.0, reduction="none")
    assert isinstance(ssim, Tensor)
    return {"mse": mse, "psnr": -10 * mse.log10(), "ssim": ssim.view(len(images))}


class Reconstruction(Measure):
    """MSE, PSNR, SSIM beside PCA; there is nothing to set."""

    needs = "reconstruct"

    def __call__(self, subject: Subject) -> Outcome:
        """Score a model's reconstructions."""
        model = subject.model
        assert isinstance(model, Reconstructs)

        def crop(images: Tensor) -> Tensor:
            return content(images, subject.data.margin)

        subject.open("train")
        batches = subject.data.in_order("train", BATCH, subject.device)
        pixels = (crop(images).flatten(1).cpu() for images, _ in batches)
        pca, word = fit_pca(pixels, subject.data.count("train"), subject.encoder.latent_dim)
        shape = crop(subject.data.first_inputs("train", 1)).shape[1:]

        def linear(images: Tensor) -> Tensor:
            return pca.inverse(pca(crop(images).flatten(1).cpu())).view(-1, *shape)

        ways: dict[str, Callable[[Tensor], Tensor]] = {
            subject.job.model.name: lambda images: crop(model.reconstruct(images)).float().cpu(),
            f"pca, {pca.components.shape[1]} components": linear,
            "mean image": lambda images: pca.mean.view(1, *shape).expand(len(images), -1, -1, -1),
        }
        subject.open(subject.part)
        rows = [{"reconstructed by": name, **_mean_scores(subject, crop, way)} for name, way in ways.items()]
        height, width = shape[1:]
        return Outcome(
            rows,
            notes=[
                f"Means over the images of {subject.part}, on the {height}x{width} pixels that hold the image. mse: "
                "pixels in [0, 1]; psnr: dB; ssim: 11x11 Gaussian window, sigma 1.5. A model with a posterior decodes "
                "its mean, of the grey image.",
                *([word] if word else []),
            ],
        )


@torch.no_grad()
def _mean_scores(
    subject: Subject, crop: Callable[[Tensor], Tensor], way: Callable[[Tensor], Tensor]
) -> dict[str, Cell]:
    found: dict[str, list[Tensor]] = {}
    for images, _ in subject.data.in_order(subject.part, BATCH, subject.device):
        reconstructions = way(images)
        check_finite(reconstructions)
        for name, values in scores(crop(images).cpu(), reconstructions).items():
            found.setdefault(name, []).append(values.double())
    return {name: torch.cat(values).mean().item() for name, values in found.items()}
