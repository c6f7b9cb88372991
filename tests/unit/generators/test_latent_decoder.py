"""Latent decoders: the head reproduces the images, and the adapter is as reproducible as any."""

from pathlib import Path

import pytest
import torch
from toys import write_tiny_autoencoder

import morelli
from morelli.errors import HeadNotFound, MismatchError, UnsuitableProgram
from morelli.generators.latent_decoder import Autoencoder, LatentDecoder


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    return morelli.load_autoencoder(write_tiny_autoencoder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def decoder(autoencoder: Autoencoder) -> LatentDecoder:
    latents = torch.randn(6, 4, 5, 4, generator=torch.Generator().manual_seed(3))
    return LatentDecoder(autoencoder, latents, size=32, announce=lambda line: None)


def test_the_head_makes_the_samples(decoder: LatentDecoder) -> None:
    head = decoder.head(8, seed=2)
    samples = decoder.samples(8, 2)
    torch.testing.assert_close(head.forward(decoder.activations(8, 2)), samples, rtol=1e-4, atol=1e-5)
    assert (head.map.out_shape, head.activation.low, head.activation.high) == ((3, 32, 32), 0.0, 1.0)
    assert head.form.grid == 16
    assert head.nonnegative  # a ReLU comes before
    assert "layer '19' (convolution, weight 3×8×3×3), (8, 32, 32) → (3, 32, 32)" in decoder.found
    assert torch.equal(samples, decoder.samples(8, 2))


def test_samples_are_decoded_latents_cut_to_the_window(decoder: LatentDecoder, autoencoder: Autoencoder) -> None:
    assert decoder.latents is not None
    known = autoencoder.decode(decoder.latents[:, :, :4])
    for sample in decoder.samples(3, 1):
        assert (known - sample).abs().amax((1, 2, 3)).min() < 1e-5


def test_normal_latents_in_place_of_the_owners(autoencoder: Autoencoder) -> None:
    decoder = LatentDecoder(autoencoder, size=16, announce=lambda line: None)
    assert decoder.samples(2, 0).shape == (2, 3, 16, 16)


def test_the_head_keeps_grid_and_autoencoder(decoder: LatentDecoder, tmp_path: Path) -> None:
    from dataclasses import replace

    head = replace(decoder.head(2), autoencoder=decoder.program())
    morelli.save(head, tmp_path / "a.head")
    again = morelli.load(tmp_path / "a.head")
    assert isinstance(again, morelli.Head)
    images = torch.rand(2, 3, 32, 32)
    assert again.form.grid == 16
    assert again.autoencoder is not None
    encoded = decoder.autoencoder.encode(images)
    torch.testing.assert_close(again.autoencoder(images).clamp(0, 1), decoder.autoencoder.decode(encoded))


def test_two_decoders_have_two_digests(decoder: LatentDecoder, tmp_path: Path) -> None:
    other = morelli.load_autoencoder(write_tiny_autoencoder(tmp_path, seed=1))
    assert LatentDecoder(other, size=16, announce=lambda line: None).digest() != decoder.digest()


def test_what_does_not_fit_is_refused(autoencoder: Autoencoder) -> None:
    with pytest.raises(MismatchError, match="Are they of this model"):
        LatentDecoder(autoencoder, torch.zeros(2, 16, 8, 8))
    with pytest.raises(MismatchError, match="at least 4"):
        LatentDecoder(autoencoder, torch.zeros(2, 4, 3, 3), size=32)
    with pytest.raises(MismatchError, match="multiple of 8"):
        LatentDecoder(autoencoder, size=30)
    with pytest.raises(MismatchError, match="multiples of 8"):
        autoencoder.encode(torch.zeros(1, 3, 12, 16))
    alone = Autoencoder(autoencoder.decoder, None, autoencoder.layer, 4)
    with pytest.raises(MismatchError, match="without its encoder"):
        alone.encode(torch.zeros(1, 3, 16, 16))
    with pytest.raises(UnsuitableProgram, match="without its encoder"):
        alone.program(16)
    with pytest.raises(HeadNotFound, match="Something comes after it"):
        LatentDecoder(Autoencoder(autoencoder.decoder, None, "17", 4), size=16)
