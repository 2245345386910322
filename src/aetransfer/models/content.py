"""The part of a padded image that holds the image: reconstruction is trained and measured there alone."""

from torch import Tensor


def content(images: Tensor, margin: int) -> Tensor:
    """Cut `margin` pixels of padding off each side of (N, C, H, W)."""
    return images[..., margin : images.shape[-2] - margin, margin : images.shape[-1] - margin]
