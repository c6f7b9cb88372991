"""What every source makes of the same utterances: vocoders, Griffin-Lim, espeak-ng itself; 16 bits, kept in runs/."""

import math
import sys
from functools import cache
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from speech import RATE, utterances  # noqa: E402

import morelli  # noqa: E402
from morelli.generators.vocoder import HOP, build_vocoder  # noqa: E402
from morelli.generators.vocoder_training import without_parametrisation  # noqa: E402
from morelli.numerics.mel import MARGIN, WINDOW, log_mel, mel_bands  # noqa: E402
from morelli.numerics.sound_perturbations import sixteen_bits  # noqa: E402
from morelli.storage import bundle  # noqa: E402

FOLDER = HERE.parents[1] / "runs" / "vocoders"
VOCODERS = ("melgan-0", "melgan-1", "hifigan-0", "hifigan-1")
SOURCES = (*VOCODERS, "hifigan-0-tuned", "griffin-lim", "espeak")
FIRST, COUNT = 600, 200  # sentences; none was seen in training
FRAMES = 62
ROUNDS = 32  # of Griffin-Lim


@cache
def vocoder(name: str) -> torch.nn.Module:
    """Without weight normalisation, in evaluation mode."""
    state = bundle.read(FOLDER / f"{name}.vocoder", "vocoder").state
    module = without_parametrisation(build_vocoder(state.settings["family"], mels=state.settings["mels"]))
    module.load_state_dict(dict(state.tensors))
    return module.eval()


def speech() -> list[torch.Tensor]:
    """The utterances, each a whole number of frames long."""
    path = FOLDER / "fresh.pt"
    if not path.exists():
        torch.save([wave[: len(wave) // HOP * HOP] for wave in utterances(FIRST, COUNT)], path)
    return torch.load(path, weights_only=True)[:COUNT]


def mels_of(wave: torch.Tensor) -> torch.Tensor:
    """[samples] → [1, mels, frames]."""
    return log_mel(torch.nn.functional.pad(wave, (MARGIN, MARGIN))[None], mel_bands(80, RATE))


def generator(name: str, frames: int = FRAMES) -> morelli.TorchGenerator:
    """The vocoder on windows of the training speech."""
    spoken = torch.load(FOLDER / "speech.pt", weights_only=True)
    length = frames * HOP + 2 * MARGIN

    def latent(n: int, rng: torch.Generator) -> torch.Tensor:
        starts = torch.randint(len(spoken) - length, (n,), generator=rng).tolist()
        return log_mel(torch.stack([spoken[s : s + length] for s in starts]), mel_bands(80, RATE))

    return morelli.TorchGenerator(vocoder(name), latent, batch=16, announce=lambda line: None)


def rendered(name: str) -> list[torch.Tensor]:
    """[samples] of every utterance, on the grid of 16 bits. "melgan-0@-20" is that vocoder 20 dB below the original."""
    if name == "espeak":
        return speech()
    if "@" in name:
        source, level = name.split("@")
        pairs = zip(speech(), rendered(source), strict=True)
        return [sixteen_bits(0.9 * (one + faint(other, one, float(level)))) for one, other in pairs]
    path = FOLDER / f"{name}.renders.pt"
    if not path.exists():
        make = griffin_lim if name == "griffin-lim" else lambda mels: vocoder(name)(mels)[0, 0]
        with torch.no_grad():
            waves = [make(mels_of(wave)) for wave in speech()]
        steps = [(wave * 32768).round().clamp(-32768, 32767).to(torch.int16) for wave in waves]
        torch.save(steps, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
    return [wave.float() / 32768 for wave in torch.load(path, weights_only=True)[:COUNT]]


def faint(wave: torch.Tensor, beside: torch.Tensor, level: float) -> torch.Tensor:
    """The wave, so many decibels louder than what it stands beside."""
    return wave * (beside.square().mean() / wave.square().mean()).sqrt() * 10 ** (level / 20)


def griffin_lim(mels: torch.Tensor) -> torch.Tensor:
    """[1, mels, frames] → [frames · 256]. Magnitudes by the bands' pseudo-inverse, phases found in 32 rounds.

    Source: Griffin & Lim, IEEE TASSP 1984, with the momentum of Perraudin et al., WASPAA 2013.
    """
    wanted = (torch.linalg.pinv(mel_bands(80, RATE)) @ mels[0].exp()).clamp_min(0)
    hann, length = torch.hann_window(WINDOW), mels.shape[-1] * HOP
    wanted = torch.nn.functional.pad(wanted, (1, 2))  # frames that begin before the clip, and end after it
    settings = {"n_fft": WINDOW, "hop_length": HOP, "window": hann}
    angles = torch.rand(wanted.shape, generator=torch.Generator().manual_seed(0))
    angles = torch.polar(torch.ones_like(wanted), 2 * math.pi * angles)
    before = torch.zeros_like(angles)
    for _ in range(ROUNDS):
        wave = torch.istft(wanted * angles, length=(wanted.shape[1] - 1) * HOP, **settings)
        now = torch.stft(wave, return_complex=True, **settings)[:, : wanted.shape[1]]
        angles = now - 0.99 / 1.99 * before
        angles, before = angles / angles.abs().clamp_min(1e-9), now
    return torch.istft(wanted * angles, length=(wanted.shape[1] - 1) * HOP, **settings)[HOP // 2 :][:length]
