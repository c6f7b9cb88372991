"""Draws plot.png: what the sources make of one utterance, and the pattern that each leaves in a frame.

Run: python experiments/audio/figures.py      (after run.py)
"""

import sys
from pathlib import Path

import matplotlib
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import sources as s  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from morelli import SampleSpec  # noqa: E402
from morelli.features.imprint_audio import SoundImprint  # noqa: E402
from morelli.numerics.mel import magnitudes  # noqa: E402

SHOWN, PATTERNS = 0, 40  # utterance drawn, utterances that the patterns are means of
SOURCES = (*s.VOCODERS, "griffin-lim", "espeak")


def main() -> None:
    length = s.FRAMES * s.HOP
    extractor = SoundImprint(SampleSpec((1, length)))
    figure, axes = plt.subplots(2, len(SOURCES), figsize=(15, 4.6), sharey="row", layout="constrained")
    for source, top, below in zip(SOURCES, *axes, strict=True):
        waves = s.rendered(source)[:PATTERNS]
        spectrogram = magnitudes(waves[SHOWN][None, : 2 * length], 512, 128)[0].log10()
        top.imshow(spectrogram, origin="lower", aspect="auto", vmin=-4, vmax=1.5, cmap="magma")
        top.set(title=source, xticks=[], yticks=[])
        clips = torch.cat([w[: len(w) // length * length].reshape(-1, 1, length) for w in waves])
        below.plot(extractor.extract(clips).values[:, : s.HOP].mean(0), linewidth=0.8, color="black")
        below.set(xlabel="place in a frame")
    axes[0, 0].set_ylabel("0 to 8 kHz")
    axes[1, 0].set_ylabel("pattern")
    figure.savefig(HERE / "plot.png", dpi=80)


if __name__ == "__main__":
    main()
