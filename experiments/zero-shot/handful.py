"""The same fingerprint network, trained on a handful of real models in place of the bank: the paper's own baseline.

Run: python experiments/zero-shot/handful.py      (a quarter of an hour on a CPU core; written to runs/handful)
"""

import torch
from sources import p

from morelli.attribution.fingerprint_training import FingerprintTraining, TrainingSettings
from morelli.cli.progress import bars
from morelli.features.fingerprint import FingerprintNetwork
from morelli.storage.generators import shipped_generators
from morelli.storage.images import to_eight_bits
from morelli.storage.networks import default_denoiser

OUT = p.ROOT / "runs/handful.pt"
IMAGES = 1000  # of each of five GANs
SETTINGS = TrainingSettings(1000, models=5, photographs=38, bf16=True)


def network() -> FingerprintNetwork:
    found = FingerprintNetwork(SETTINGS.backbone, default_denoiser())
    found.load_state_dict(torch.load(OUT, weights_only=True))
    return found.eval()


def main() -> None:
    gans = [p.loaded(name) for name in shipped_generators()]
    pool = torch.stack([to_eight_bits(gan.samples(IMAGES, 3), p.SPEC) for gan in gans])
    training = FingerprintTraining(SETTINGS, pool, default_denoiser())
    with bars() as stage:
        progress = stage("training on five real models", SETTINGS.steps)
        while training.done < SETTINGS.steps:
            found = training.step()
            progress(1)
    print(found)
    torch.save(training.finished().state_dict(), OUT)


if __name__ == "__main__":
    main()
