"""How inputs of any shape become small pictures: what is drawn where, and on which scale."""

import numpy as np
import torch

from aetransfer.networks.mlp import MLP
from aetransfer.training.callbacks.drawing import FloatImages, Pixels, Signals, Stroke, Vectors, draw, sheet, thinned
from aetransfer.training.callbacks.embeddings import THUMBNAIL, _thumbnails


def encoder_of(examples):
    encoder = MLP(input_shape=examples.shape[1:], latent_dim=2)
    encoder.takes_pixels = False
    channels = examples.movedim(1, 0).flatten(1)
    encoder.normalise.set_statistics(channels.mean(1), channels.std(1))
    return encoder


def test_each_panel_holds_its_own_strokes():
    across = np.array([[0.0, 10.0], [40.0, 10.0]])
    cells = draw([[Stroke(across, "#ff0000", 2)], [], [Stroke(across + np.array([0, 300]), "#0000ff", 2)]], 40, 20)

    assert cells.shape == (3, 3, 20, 40)
    assert torch.equal(cells[0, :, 10, 20], torch.tensor([1.0, 0.0, 0.0]))
    assert len(cells[1].unique()) == 1
    assert torch.equal(cells[2, :, 19, 20], torch.tensor([0.0, 0.0, 1.0]))  # what leaves a panel ends at its edge


def test_of_a_long_signal_no_peak_is_lost():
    values = np.zeros(10_000)
    values[7_123], values[31] = 5, -3
    x, y = thinned(values, 100)

    assert len(x) == len(y) == 200
    assert (y.min(), y.max()) == (-3, 5)
    assert x[y.argmax()] == np.linspace(0, 1, 100)[71]


def test_signals_have_a_lane_a_channel_each_by_its_own_range():
    examples = torch.stack([torch.linspace(-1, 1, 50), torch.linspace(0, 1e6, 50)]).expand(3, 2, 50)
    view = Signals(examples)
    picture = view.pictures(examples[:1])[0]

    assert view.note == "2 channels from the top, each by its own range"
    lanes = picture.unflatten(1, (2, -1))
    inked = [(lanes[:, lane].std(0) > 0.1).nonzero() for lane in (0, 1)]
    assert all(len(each) > 100 for each in inked)  # neither is flat, nor outside
    assert Signals(torch.zeros(2, 64, 20)).note == "8 of 64 channels from the top, each by its own range"


def test_a_perfect_reconstruction_lies_over_what_it_is_of():
    examples = torch.rand(4, 1, 30)
    view = Signals(examples)
    perfect, wrong = view.difference(examples, examples), view.difference(examples, 1 - examples)

    assert (view.pictures(examples) - perfect).abs().mean() < (view.pictures(examples) - wrong).abs().mean()


def test_vectors_are_bars_in_deviations_of_each_feature():
    examples = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1e3, 1e-3]) + 7
    view = Vectors(encoder_of(examples), examples)
    highest = examples.mean(0) + 2 * examples.std(0)
    picture = view.pictures(highest.unsqueeze(0))[0]

    columns = (picture[2] - picture[0] > 0.3).sum(0)  # blue
    bars = columns[columns > 5]
    assert bars.min() >= bars.max() - 2  # two deviations are as high in any unit


def test_float_images_are_scaled_by_the_range_of_the_examples_and_bands_are_averaged():
    examples = torch.rand(50, 12, 8, 16) * 3000 + 500
    view = FloatImages(encoder_of(examples), examples)

    pictures = view.pictures(examples)
    assert pictures.shape == (50, 3, 8, 16)
    assert 0 <= pictures.min() < 0.01 and 0.99 < pictures.max() <= 1
    assert view.note.startswith("mean of 12 standardised channels, from -")
    assert not view.difference(examples, examples).any()
    one = FloatImages(encoder_of(examples[:, :1]), examples[:, :1])
    assert one.note.startswith("values from 5") and one.note.endswith("(white)")


def test_pixels_of_many_channels_are_their_mean_and_say_so():
    images = torch.rand(2, 12, 8, 8)

    assert torch.equal(Pixels(12).pictures(images)[:, 1], images.mean(1))
    assert (Pixels(12).note, Pixels(3).note) == ("mean of 12 channels", "")


def test_oblong_images_keep_their_form_on_sheets_and_in_the_projector():
    assert sheet(torch.zeros(1, 3, 100, 400), 1).size == (128 + 8, 32 + 8)
    assert sheet(torch.zeros(1, 3, 2, 1000), 1).size == (128 + 8, 1 + 8)
    thumbnails = _thumbnails(Pixels(3), torch.ones(2, 3, 24, 96))
    assert thumbnails.shape == (2, 3, THUMBNAIL, THUMBNAIL)
    assert thumbnails[0, 0, :, 0].tolist() == [0] * 18 + [255] * 12 + [0] * 18
