"""Sheets of images: what stands where, and that pixels stay what they were."""

import numpy as np
import torch

from aetransfer.training.callbacks.drawing import GAP, LINE, PAPER, Pixels, heat, sheet
from aetransfer.training.callbacks.embeddings import sprite
from aetransfer.training.callbacks.images import DEVIATIONS, between, moved, reconstruction_sheet, signed
from aetransfer.training.callbacks.targets import Mistake, surest_mistakes


def colours(picture):
    return {tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 3)}


def test_a_sheet_keeps_pixels_in_their_order():
    images = torch.arange(6).div(10).view(6, 1, 1, 1).expand(-1, 1, 64, 64)
    pixels = np.asarray(sheet(images, 3))

    for place in range(6):
        row, column = divmod(place, 3)
        cell = pixels[GAP + row * (64 + GAP) :, GAP + column * (64 + GAP) :][:64, :64]
        assert np.all(cell == round(place / 10 * 255))
    assert tuple(pixels[0, 0]) == PAPER


def test_small_images_are_enlarged_and_large_ones_reduced():
    assert sheet(torch.zeros(1, 1, 28, 28), 1).size == (56 + 2 * GAP,) * 2
    assert sheet(torch.zeros(1, 3, 64, 64), 1).size == (64 + 2 * GAP,) * 2
    assert sheet(torch.zeros(1, 3, 512, 512), 1).size == (128 + 2 * GAP,) * 2


def test_a_name_too_long_for_its_picture_is_cut_and_one_with_an_escape_sequence_is_harmless():
    images = torch.zeros(2, 1, 32, 32)
    plain = sheet(images, 2, captions=["cat", "dog"])

    assert sheet(images, 2, captions=["a very long name of a class of images", "\x1b[31m"]).size == plain.size
    assert sheet(images, 2, captions=["cat\n→ dog", "dog\n→ cat"]).height == plain.height + LINE


def test_the_error_map_of_a_perfect_reconstruction_is_black():
    images = torch.ones(4, 3, 32, 32)
    perfect = np.asarray(reconstruction_sheet(Pixels(3), images, images, 4))
    down = 64 + GAP
    errors = perfect[GAP + 2 * down :][:64, -(4 * (64 + GAP)) :]

    cells = np.stack([errors[:, place * down : place * down + 64] for place in range(4)])
    assert not cells.any()
    wrong = np.asarray(reconstruction_sheet(Pixels(3), images, images * 0.4, 4))[GAP + 2 * down :][:64, -(4 * down) :]
    assert np.all(wrong[:, :64] == 255)  # off by more than what is drawn white


def test_an_error_is_brighter_the_larger_it_is():
    brightness = heat(torch.linspace(0, 1, 101).view(101, 1, 1, 1)).sum((1, 2, 3))

    assert brightness[0] == 0
    assert brightness[-1] == 3
    assert torch.all(brightness.diff() > 0)


def test_a_weight_of_zero_is_mid_grey_on_whatever_scale():
    assert signed(torch.tensor([-2.0, 0.0, 1.0, 2.0]), 2.0).tolist() == [0.0, 0.5, 0.75, 1.0]


def test_a_traversal_moves_one_latent_and_leaves_all_others():
    code, latents = torch.arange(5.0), torch.tensor([3, 1])
    codes = moved(code, latents, DEVIATIONS)

    assert codes.shape == (2, 13, 5)
    for row, latent in zip(codes, latents.tolist(), strict=True):
        assert row[:, latent].tolist() == DEVIATIONS
        assert (row[0, latent], row[-1, latent]) == (-3, 3)
        others = [place for place in range(5) if place != latent]
        assert torch.equal(row[:, others], code[others].expand(13, -1))


def test_an_interpolation_leads_from_one_code_to_the_other_in_equal_steps():
    first, second = torch.tensor([[0.0, 4.0]]), torch.tensor([[8.0, 0.0]])

    assert between(first, second, 5).tolist() == [[[0, 4], [2, 3], [4, 2], [6, 1], [8, 0]]]


def test_mistakes_are_wrong_and_the_surest_come_first():
    logits = torch.tensor([[9.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 2.0]])
    labels = torch.tensor([0, 0, 0, 1])
    confidence = logits.double().softmax(1).max(1).values.tolist()

    assert surest_mistakes(logits, labels, 10) == [Mistake(2, 0, 1, confidence[2]), Mistake(1, 0, 1, confidence[1])]
    assert surest_mistakes(logits, labels, 1) == [Mistake(2, 0, 1, confidence[2])]
    assert surest_mistakes(logits[:1], labels[:1], 10) == []


def test_a_sprite_has_its_thumbnails_row_by_row():
    thumbnails = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(-1, 3, 4, 4)
    pixels = np.asarray(sprite(thumbnails))[..., 0]

    assert pixels.shape == (12, 12)
    assert [pixels[4 * (place // 3), 4 * (place % 3)] for place in range(5)] == list(range(5))
