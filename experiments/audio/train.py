"""Trains the vocoders of this experiment into runs/vocoders. Interrupted, it goes on where it stopped.

Run: python experiments/audio/train.py [melgan-0 hifigan-0 …]
"""

import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from speech import RATE, utterances  # noqa: E402

from morelli.generators.vocoder_training import VocoderSettings, VocoderTraining, spectral_loss  # noqa: E402
from morelli.numerics.mel import MARGIN, log_mel  # noqa: E402
from morelli.numerics.state import State  # noqa: E402
from morelli.storage import bundle  # noqa: E402

FOLDER = HERE.parents[1] / "runs" / "vocoders"
NAMES = ("melgan-0", "hifigan-0", "hifigan-1", "melgan-1", "hifigan-0-tuned")
STEPS = {"melgan": (900, 600), "hifigan": (1400, 1000)}  # in all, before the critics join
TUNED = 60  # steps that a copy is trained further, on clips in another order
UTTERANCES = 500  # sentences 0 to 499; later ones are never seen in training
SAVE = 100


def settings_of(name: str) -> VocoderSettings:
    family, seed, *tuned = name.split("-")
    steps, alone = STEPS[family]
    settings = VocoderSettings(family, steps, alone, seed=int(seed), bf16=True)
    return replace(settings, steps=steps + TUNED, seed=int(seed) + 100) if tuned else settings


def train(name: str, speech: torch.Tensor, fresh: torch.Tensor) -> None:
    training, start = VocoderTraining(settings_of(name), speech), time.process_time()
    checkpoint = FOLDER / f"{name}.training"
    if checkpoint.exists():
        training.restore(bundle.read(checkpoint, "vocoder_training").state)
    elif name.endswith("-tuned"):
        base = bundle.read(FOLDER / f"{name.removesuffix('-tuned')}.training", "vocoder_training").state
        training.restore(State(dict(base.settings) | {"training": asdict(training.settings)}, parts=base.parts))
    while training.done < training.settings.steps:
        losses = training.step()
        if training.done % SAVE == 0 or training.done == training.settings.steps:
            bundle.write(checkpoint, "vocoder_training", training.state(), overwrite=True)
            shown = " ".join(f"{k} {v:.3f}" for k, v in losses.items())
            print(f"{name} {training.done}: {shown}; {time.process_time() - start:.0f} s of CPU", flush=True)
    module = training.finished_generator()
    with torch.no_grad():
        mels = log_mel(fresh[None], training.bands)
        distance = float(spectral_loss(module(mels)[:, 0], fresh[None, MARGIN:-MARGIN]))
    weights = {k: v.detach().clone() for k, v in module.state_dict().items()}
    about = asdict(training.settings) | {"distance": round(distance, 4)}
    bundle.write(FOLDER / f"{name}.vocoder", "vocoder", State(about, weights), overwrite=True)
    print(f"{name}: log-STFT distance to unseen speech {distance:.3f}", flush=True)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    cache = FOLDER / "speech.pt"
    if not cache.exists():
        torch.save(torch.cat(utterances(0, UTTERANCES)), cache)
    speech, fresh = torch.load(cache, weights_only=True), torch.cat(utterances(UTTERANCES, 10))
    fresh = fresh[: (len(fresh) - 2 * MARGIN) // 256 * 256 + 2 * MARGIN]
    print(f"{len(speech) / RATE:.0f} s of speech", flush=True)
    for name in sys.argv[1:] or NAMES:
        if not (FOLDER / f"{name}.vocoder").exists():
            train(name, speech, fresh)


if __name__ == "__main__":
    main()
