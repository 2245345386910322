"""A small classifier trained here, whose features compare images: the net of fid_own."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.data.module import DataModule, Labelled
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.head import Head

WIDTHS = (32, 64, 128)
FEATURES = 64
BATCH = 128
LEARNING_RATE = 1e-3


class FeatureNet(torch.nn.Module):
    """Images (N, C, S, S) in [0, 1] to features (N, 64), which a linear layer reads classes from."""

    def __init__(self, input_shape: Sequence[int], classes: int) -> None:
        super().__init__()
        self.encoder = Conv4(input_shape=input_shape, latent_dim=FEATURES, widths=WIDTHS)
        self.head = Head(FEATURES, classes, hidden=())

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images).relu()

    @torch.no_grad()
    def accuracy(self, batches: Iterable[Labelled]) -> float:
        hits = [self.head(self(images)).argmax(1) == labels for images, labels in batches]
        return torch.cat(hits).cpu().double().mean().item()


def train_feature_net(data: DataModule, device: torch.device, *, epochs: int, seed: int) -> FeatureNet:
    """Train on the data's training split, unaugmented. Global random state stays."""
    images, labels = (torch.cat(parts) for parts in zip(*data.in_order("train", 1000, device), strict=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = FeatureNet(images.shape[1:], len(data.class_names))
        net.encoder.normalise.set_statistics(*data.statistics())
        net.to(device)
        optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(BATCH):
                chosen = rows.to(device)
                optimizer.zero_grad()
                F.cross_entropy(net.head(net(images[chosen])), labels[chosen]).backward()
                optimizer.step()
    return net.eval()
