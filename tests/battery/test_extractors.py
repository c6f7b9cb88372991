"""Contract of an extractor: shapes refused, state rebuilt, a batch nobody can see."""

from __future__ import annotations

import pytest
import torch
from battery.cases import EXTRACTORS, SOUND_EXTRACTORS
from scipy.fft import dctn
from toys import toy_heads, toy_samples, vocoder_generator

from morelli import SampleSpec, Tanh
from morelli.attribution.kinds import INVERSIONS, METHODS, certified, extractor_from_state
from morelli.errors import MismatchError
from morelli.features.baselines import LogDct, RawValues
from morelli.features.inversion import Inversion
from morelli.features.protocol import Extractor
from morelli.features.windows import Window
from morelli.numerics.head import Head
from morelli.numerics.linear import Conv, Geometry
from morelli.numerics.solvers.fista import Fista

ROWS = pytest.mark.parametrize("name", EXTRACTORS)
TOYS = pytest.mark.parametrize("toy", ["deconvolution", "convolution"])


def extractor(name: str, toy: str = "deconvolution") -> Extractor:
    return EXTRACTORS[name](toy_heads()[toy])


@ROWS
@TOYS
def test_one_row_of_everything_per_sample(name: str, toy: str) -> None:
    features = extractor(name, toy).extract(toy_samples(toy, 5))
    assert len(features) == len(features.reasons) == 5
    assert all(note.shape == (5,) for note in features.notes.values())
    assert features.values.isfinite().all()
    assert (features.values[0] != features.values[1]).any()


@ROWS
def test_spec_is_what_the_head_makes(name: str) -> None:
    heads = toy_heads()
    assert extractor(name).spec == SampleSpec((3, 8, 8), -1.0, 1.0)
    assert EXTRACTORS[name](heads["convolution"]).spec == SampleSpec((3, 8, 8), 0.0, 1.0)


@ROWS
def test_another_shape_is_refused(name: str) -> None:
    with pytest.raises(MismatchError, match=r"\(3, 8, 7\)"):
        extractor(name).extract(torch.zeros(2, 3, 8, 7))


@ROWS
@TOYS
def test_state_round_trip(name: str, toy: str) -> None:
    one, samples = extractor(name, toy), toy_samples(toy, 4)
    again = extractor_from_state(one.state())
    assert (type(again), again.spec) == (type(one), one.spec)
    assert torch.equal(again.extract(samples).values, one.extract(samples).values)
    assert again.state().describe() == one.state().describe()


@ROWS
@TOYS
def test_a_batch_is_its_samples_one_by_one(name: str, toy: str) -> None:
    one, samples = extractor(name, toy), toy_samples(toy, 5)
    together = one.extract(samples)
    for i in range(5):
        alone = one.extract(samples[i : i + 1])
        assert alone.reasons[0] == together.reasons[i]
        torch.testing.assert_close(alone.values[0], together.values[i], rtol=1e-5, atol=1e-5)


@ROWS
def test_an_empty_batch(name: str) -> None:
    one = extractor(name)
    features = one.extract(torch.zeros(0, 3, 8, 8))
    assert len(features) == 0
    assert features.values.shape[1:] == one.extract(toy_samples("deconvolution", 1)).values.shape[1:]


@ROWS
def test_progress_counts_every_sample(name: str) -> None:
    told: list[int] = []
    extractor(name).extract(toy_samples("deconvolution", 7), told.append)
    assert sum(told) == 7


@pytest.mark.parametrize("name", SOUND_EXTRACTORS)
def test_the_contract_for_sound(name: str) -> None:
    toy, told = vocoder_generator(0, 10), list[int]()
    one, samples = SOUND_EXTRACTORS[name](toy.head(16)), toy.samples(5, 3)
    together = one.extract(samples, told.append)
    assert sum(told) == len(together) == len(together.reasons) == 5
    assert together.values.isfinite().all() and (together.values[0] != together.values[1]).any()
    for i in range(5):
        alone = one.extract(samples[i : i + 1]).values[0]
        torch.testing.assert_close(alone, together.values[i], rtol=1e-4, atol=1e-4)
    assert one.extract(samples[:0]).values.shape == (0, together.values.shape[1])
    again = extractor_from_state(one.state())
    assert torch.equal(again.extract(samples).values, together.values)
    assert again.state().describe() == one.state().describe()
    with pytest.raises(MismatchError, match=r"\(1, 319\)"):
        one.extract(torch.zeros(2, 1, 319))


def test_inversion_is_bit_identical_whatever_the_batch() -> None:
    one, samples = extractor("inversion"), toy_samples("deconvolution", 18)
    together = one.extract(samples)
    assert torch.equal(one.extract(samples[11:12]).values[0], together.values[11])
    assert torch.equal(one.extract(samples.flip(0)).values.flip(0), together.values)


def test_inversion_finds_a_sparse_activation() -> None:
    """Far fewer non-zeros than outputs, hardly any noise: the lasso gives the activation back."""
    head = toy_heads()["deconvolution"].to("cpu", torch.float64)
    moved = torch.zeros(1, 16, 4, 4, dtype=torch.float64)
    moved[0, 3, 1, 2], moved[0, 9, 2, 1] = 0.7, -0.5
    found = (
        Inversion(head, 1e-4, solver=Fista(tolerance=1e-4, max_steps=50_000))
        .extract(head.forward(head.anchor + moved))
        .values
    )
    torch.testing.assert_close(found, moved, rtol=0, atol=0.01)


def test_inversion_pools_activations_not_differences() -> None:
    head = toy_heads()["convolution"]
    samples = toy_samples("convolution", 3)
    plain, pooled = (Inversion(head, 1e-2, pool).extract(samples).values for pool in (1, 2))
    pool = torch.nn.functional.max_pool2d
    torch.testing.assert_close(pooled, pool(plain + head.anchor, 2) - pool(head.anchor[None], 2))
    assert not torch.allclose(pooled, pool(plain, 2))


def test_inversion_pools_sound_too() -> None:
    features = Inversion(toy_heads()["audio"], 1e-2, pool=4).extract(toy_samples("audio", 2))
    assert features.values.shape == (2, 8, 16)


def test_pooling_a_table_is_refused() -> None:
    with pytest.raises(MismatchError, match="pooling"):
        Inversion(toy_heads()["table"], pool=2).extract(toy_samples("table", 2))


def test_inversion_notes_saturation_and_values_out_of_range() -> None:
    samples = toy_samples("deconvolution", 2).clamp(-0.9, 0.9)
    samples[1, :, :, :4] = 1.0
    features = extractor("inversion").extract(samples)
    assert features.notes["saturated"].tolist() == [0.0, 0.5]
    assert features.reasons == ("", "")
    far = torch.cat([samples[:1] * 255, samples[1:]])
    reasons = extractor("inversion").extract(far).reasons
    assert "outside the range" in reasons[0]
    assert reasons[1] == ""


def test_inversion_gives_a_reason_for_what_did_not_converge() -> None:
    head = toy_heads()["deconvolution"]
    features = Inversion(head, 1e-4, solver=Fista(tolerance=1e-9, max_steps=10)).extract(
        toy_samples("deconvolution", 2)
    )
    assert all("step limit" in reason for reason in features.reasons)
    assert (features.notes["gap"] > 1e-9).all()
    assert (features.notes["steps"] == 10).all()


def test_raw_values_keep_every_second_pixel_in_plus_minus_one() -> None:
    samples = toy_samples("convolution", 2)
    values = RawValues(SampleSpec((3, 8, 8), 0.0, 1.0), stride=2).extract(samples).values
    torch.testing.assert_close(values, 2 * samples[:, :, [0, 2, 4, 6]][..., [0, 2, 4, 6]] - 1)


def test_raw_values_leave_a_table_alone() -> None:
    rows = toy_samples("table", 4)
    assert torch.equal(RawValues(SampleSpec((6,), -float("inf"), float("inf"))).extract(rows).values, rows)


def test_log_dct_is_scipys_of_the_centre() -> None:
    samples = toy_samples("convolution", 2).double()
    values = LogDct(SampleSpec((3, 8, 8), 0.0, 1.0), crop=4).extract(samples).values
    expected = abs(dctn((2 * samples[:, :, 2:6, 2:6] - 1).numpy(), axes=(2, 3), norm="ortho")) + 1e-10
    torch.testing.assert_close(values, torch.from_numpy(expected).log(), rtol=1e-6, atol=1e-6)


def test_log_dct_refuses_images_smaller_than_its_crop() -> None:
    with pytest.raises(MismatchError, match="at least 16×16"):
        LogDct(SampleSpec((3, 8, 8)), crop=16)


def test_an_image_of_an_unbounded_head_lies_in_plus_minus_one() -> None:
    head = toy_heads()["deconvolution"]
    from dataclasses import replace

    from morelli import Identity

    assert isinstance(head.activation, Tanh)
    spec = Inversion(replace(head, activation=Identity())).spec
    assert (spec.low, spec.high) == (-1.0, 1.0)
    assert Inversion(toy_heads()["table"]).spec == SampleSpec((6,), -float("inf"), float("inf"))


IMAGES_ONLY = {"jpeg-cell"}


@pytest.mark.parametrize("name", INVERSIONS)
@pytest.mark.parametrize("toy", ["deconvolution", "convolution", "table"])
def test_every_named_inversion_works_and_is_rebuilt(name: str, toy: str) -> None:
    head, samples = toy_heads()[toy], toy_samples(toy, 3)
    one = INVERSIONS[name](Inversion(head, 1e-2))
    if toy == "table" and name in IMAGES_ONLY:
        with pytest.raises(MismatchError, match="JPEG cells need images"):
            one.extract(samples)
        return
    found = one.extract(samples)
    assert found.values.isfinite().all()
    assert found.reasons == ("",) * 3
    again = extractor_from_state(one.state())
    assert torch.equal(again.extract(samples).values, found.values)
    assert again.state().describe() == one.state().describe()


@pytest.mark.parametrize("toy", ["deconvolution", "table"])
def test_certificates_bound_the_excess(toy: str) -> None:
    """Ten steps are far from the optimum and the certificate says so; the certified inversion keeps its promise."""
    head, samples = toy_heads()[toy], toy_samples(toy, 2)
    rough = Inversion(head, 1e-2, solver=Fista(tolerance=1.0, min_steps=10)).certify(samples, [{}] * 2)
    close = certified(Inversion(head, 1e-2), 0.01).certify(samples, [{}] * 2)
    assert (close.excess <= 0.011).all()
    assert (rough.excess > 2 * close.excess).all()
    assert (rough.gap < 1e-5).all()


def test_large_images_are_inverted_in_windows() -> None:
    weight = torch.randn(3, 4, 3, 3, generator=torch.Generator().manual_seed(0)) / 6
    linear = Conv(weight, (4, 512, 512), Geometry((1, 1), (1, 1), (1, 1)))
    head = Head(linear, torch.zeros(3, 1, 1), Tanh(), torch.zeros(4, 512, 512))
    assert METHODS["flipad"].extractor(head).window == Window()
    assert METHODS["flipad"].extractor(toy_heads()["convolution"]).window is None


def test_log_dct_of_sound_is_the_mean_over_frames() -> None:
    samples = toy_samples("audio", 2).double()
    values = LogDct(SampleSpec((1, 64)), crop=16).extract(samples).values
    frames = samples.numpy().reshape(2, 1, 4, 16)
    expected = torch.from_numpy(abs(dctn(frames, axes=(3,), norm="ortho")) + 1e-10).log().mean(2)
    torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-6)
