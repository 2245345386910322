"""Changes of signals, vectors and float images: in units of the data's own channels, by the numbers handed alone."""

import pytest
import torch
from scipy.stats import kstest

from aetransfer.data.augmented import augmented
from aetransfer.data.float_augmentation import Jitter, Mask, MaskFeatures, Scale, SignalCrop, normal, told, uniform

MEAN, DEVIATION = torch.tensor([5.0, -300.0, 0.02]), torch.tensor([1.0, 50.0, 0.001])
KINDS = {"signals": (3, 60), "vectors": (3,), "images": (3, 9, 7)}
ALL = [
    *((Jitter(), kind) for kind in KINDS),
    *((Scale(), kind) for kind in ("signals", "images")),
    *((each, "signals") for each in (SignalCrop(), Mask())),
    (MaskFeatures(), "vectors"),
]


def drawn(count, seed=1):
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))


def inputs_of(count, kind):
    values = torch.randn(count, *KINDS[kind], generator=torch.Generator().manual_seed(0))
    return values * per_channel(DEVIATION, kind) + per_channel(MEAN, kind)


def per_channel(values, kind):
    return values.view(-1, *(1 for _ in KINDS[kind][1:]))


def changed(transform, inputs, numbers, kind):
    told([transform], per_channel(MEAN, kind), per_channel(DEVIATION, kind))
    return augmented(inputs, [transform], numbers)


@pytest.mark.parametrize(("transform", "kind"), ALL, ids=lambda each: getattr(type(each), "__name__", each))
def test_it_keeps_shape_and_what_it_was_given_and_each_example_has_its_own(transform, kind):
    inputs, numbers = inputs_of(30, kind), drawn(30)
    before = inputs.clone()
    whole = changed(transform, inputs, numbers, kind)

    assert whole.shape == inputs.shape and whole.dtype == torch.float32
    assert torch.equal(inputs, before) and not torch.equal(whole, inputs)
    assert torch.equal(changed(transform, inputs[4::3], numbers[4::3], kind), whole[4::3])
    assert not torch.equal(changed(transform, inputs, drawn(30, seed=2), kind), whole)


@pytest.mark.parametrize(("transform", "kind"), ALL, ids=lambda each: getattr(type(each), "__name__", each))
def test_another_unit_of_a_channel_changes_nothing_else(transform, kind):
    inputs, numbers = inputs_of(20, kind), drawn(20)
    own = changed(transform, inputs, numbers, kind)
    mean, deviation = per_channel(MEAN, kind), per_channel(DEVIATION, kind)
    told([transform], torch.zeros_like(mean), torch.ones_like(deviation))
    standardised = augmented((inputs - mean) / deviation, [transform], numbers)

    torch.testing.assert_close((own - mean) / deviation, standardised, atol=2e-3, rtol=1e-3)


def test_noise_is_normal_and_as_wide_as_asked_in_each_channel():
    inputs = inputs_of(400, "signals")
    noise = (changed(Jitter(0.2), inputs, drawn(400), "signals") - inputs) / DEVIATION.view(3, 1)

    assert noise.std((0, 2)).tolist() == pytest.approx([0.2] * 3, rel=0.03)
    assert kstest(noise[:, 0].flatten().numpy(), "norm", args=(0, 0.2)).pvalue > 0.01


def test_what_is_drawn_from_two_numbers_is_uniform_in_each_place_and_places_and_examples_are_independent():
    values = uniform(drawn(2000), (50,), torch.zeros(()))
    correlations = torch.corrcoef(values.T).fill_diagonal_(0)

    assert values.min() > 0 and values.max() < 1
    assert kstest(values.flatten().numpy(), "uniform").pvalue > 0.01
    assert min(kstest(values[:, place].numpy(), "uniform").pvalue for place in range(50)) > 1e-4
    assert correlations.abs().max() < 0.1
    assert torch.corrcoef(values[:100]).fill_diagonal_(0).abs().max() < 0.6
    assert normal(drawn(500), (200,), torch.zeros(())).isfinite().all()


def test_a_factor_is_of_a_channel_and_about_its_mean():
    inputs = inputs_of(300, "signals")
    factors = (changed(Scale(0.1), inputs, drawn(300), "signals") - MEAN.view(3, 1)) / (inputs - MEAN.view(3, 1))

    # A value next to the mean has hardly a factor.
    middle = factors.median(2).values
    assert ((factors - middle.unsqueeze(2)).abs() < 0.01).float().mean() > 0.95
    assert middle.std(0).tolist() == pytest.approx([0.1] * 3, rel=0.15)
    assert middle.mean().item() == pytest.approx(1, abs=0.02)


def test_a_crop_of_a_line_is_a_flatter_line_within_it():
    ramp = torch.linspace(0, 1, 80).expand(200, 2, 80).contiguous()
    crops = SignalCrop(0.4)(ramp, drawn(200))
    steps = crops.diff(dim=2)

    assert torch.allclose(steps, steps[..., :1], atol=1e-5)
    assert crops.min() >= 0 and crops.max() <= 1
    lengths = crops[:, 0, -1] - crops[:, 0, 0]
    assert lengths.min() > 0.39 and lengths.max() > 0.95
    assert torch.equal(crops[:, 0], crops[:, 1])
    torch.testing.assert_close(SignalCrop(1.0)(ramp, drawn(200)), ramp)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_signals_are_cropped_too(length):
    signals = torch.rand(9, 2, length)

    assert SignalCrop(0.5)(signals, drawn(9)).shape == signals.shape


def test_a_mask_is_one_stretch_of_all_channels_that_becomes_the_mean():
    hidden = changed(Mask(0.1, 0.4), inputs_of(200, "signals"), drawn(200), "signals") == MEAN.view(3, 1)

    assert torch.equal(hidden[:, 0], hidden[:, 1]) and torch.equal(hidden[:, 0], hidden[:, 2])
    assert (hidden[:, 0].float().diff(dim=1) == 1).sum(1).max() <= 1
    shares = hidden[:, 0].float().mean(1)
    assert 0.08 <= shares.min() < 0.15 and 0.35 < shares.max() <= 0.42


def test_features_are_hidden_each_by_itself():
    hidden = changed(MaskFeatures(0.3), inputs_of(3000, "vectors"), drawn(3000), "vectors") == MEAN

    assert hidden.float().mean(0).tolist() == pytest.approx([0.3] * 3, abs=0.03)
    assert torch.corrcoef(hidden.float().T).fill_diagonal_(0).abs().max() < 0.06


@pytest.mark.parametrize(
    ("kind", "keys"),
    [(SignalCrop, {"smallest": 1.5}), (Mask, {"smallest": 0.5, "largest": 0.2}), (MaskFeatures, {"share": 2.0})],
)
def test_what_has_no_meaning_is_refused(kind, keys):
    with pytest.raises(ValueError, match="="):
        kind(**keys)
