"""Scalars of a step: what is summed up in one number."""

import torch
from torch import nn

from aetransfer.training.callbacks.curves import gradient_norm, memory


def test_the_norm_is_that_of_the_gradient_that_the_optimiser_gets():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 1))
    model.frozen_layers = [model, model[0]]  # whose own gradients a gradual arm drops
    model[2].requires_grad_(False)
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    model(torch.ones(5, 3)).sum().backward()

    trained = torch.cat([model[1].weight.grad.flatten(), model[1].bias.grad])
    assert torch.allclose(gradient_norm(model, optimizer), trained.norm())


def test_memory_is_that_of_the_process_and_of_its_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3_000_000_000)

    (ram,) = memory(torch.device("cpu")).values()
    assert 0.05 < ram < 100
    assert memory(torch.device("cuda", 0))["system/gpu_gb"] == 3.0
