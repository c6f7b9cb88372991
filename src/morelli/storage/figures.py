"""Plots as PNG data URIs, for pages that need nothing but themselves."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Values = NDArray[np.floating]
OWN, FOREIGN = "#1b6ca8", ("#c8553d", "#e0a030", "#7d5ba6", "#4f9d69", "#8a6d5a", "#d16ba5")


def data_uri(figure: Figure) -> str:
    return _uri(lambda file: figure.savefig(file, format="png", dpi=110, metadata={"Software": None}))


def _uri(write: Callable[[io.BytesIO], object]) -> str:
    """Of the PNG file that is written."""
    file = io.BytesIO()
    write(file)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def score_histogram(scores: Mapping[str, Values], own: Sequence[str], threshold: float, title: str = "") -> str:
    """Scores by source against the threshold; the names in `own` are own samples. Values far out are clipped."""
    figure = Figure(figsize=(6.4, 2.9), layout="constrained")
    axes = figure.subplots()
    groups = [values for values in scores.values() if len(values)] or [np.array([threshold])]
    low, high = min(group.min() for group in groups), max(np.quantile(group, 0.98) for group in groups)
    reach = max(high - low, abs(threshold) * 0.1, 1e-9)
    bins = np.linspace(
        min(low, threshold - 0.1 * reach), max(high, threshold + 0.1 * reach) + 0.05 * reach, 50
    ).tolist()
    colours = iter(FOREIGN * 4)
    for name, values in scores.items():
        clipped = np.clip(values, bins[0], bins[-1])
        if name in own:
            axes.hist(clipped, bins, label=name, color=OWN, alpha=0.75)
        else:
            axes.hist(clipped, bins, label=name, color=next(colours), histtype="step", linewidth=1.6)
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1, label="threshold")
    axes.set(xlabel="score (higher = less like the model)", ylabel="samples", title=title)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return data_uri(figure)


def activation_maps(maps: Mapping[str, Values], title: str = "") -> str:
    """[h, w] per source, on one colour scale."""
    figure = Figure(figsize=(1.75 * len(maps) + 0.9, 2.2), layout="constrained")
    rows = figure.subplots(1, len(maps), squeeze=False)[0]
    low, high = np.quantile(np.stack(list(maps.values())), [0.01, 0.99])
    for axes, (name, values) in zip(rows, maps.items(), strict=True):
        image = axes.imshow(values, vmin=low, vmax=high, cmap="viridis")
        axes.set_title(name, fontsize=8)
        axes.set_axis_off()
    figure.colorbar(image, ax=list(rows), shrink=0.8)
    if title:
        figure.suptitle(title, fontsize=9)
    return data_uri(figure)


def contact_sheet(images: Pixels, columns: int = 8, scale: int = 1) -> str:
    """uint8 [n, h, w, c] as one picture."""
    from PIL import Image

    n, height, width, channels = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * height, min(n, columns) * width, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet)
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    return _uri(lambda file: picture.save(file, "PNG"))


LOOK = 256  # pixels a side that small pictures are enlarged to, by whole numbers, and large ones reduced to


def picture_uri(image: Pixels, side: int = LOOK) -> str:
    """uint8 [h, w, c] at about `side` pixels: enlarged without smoothing, or reduced."""
    from PIL import Image

    picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    longest = max(picture.size)
    if longest > side:
        size = tuple(max(1, round(length * side / longest)) for length in picture.size)
        picture = picture.resize(size, Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    elif (scale := side // longest) > 1:
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    return _uri(lambda file: picture.save(file, "PNG", optimize=True))


def map_uri(values: Values, low: float, high: float, colours: str = "viridis") -> str:
    """[h, w] on one of matplotlib's colour scales; what is outside of it is clipped."""
    from matplotlib import colormaps

    shares = (np.clip(values, low, high) - low) / (high - low if high > low else 1.0)
    return picture_uri((colormaps[colours](shares)[..., :3] * 255).round().astype(np.uint8))


def scale_uri(colours: str = "viridis") -> str:
    """A colour scale from left to right."""
    return map_uri(np.linspace(0, 1, LOOK)[None].repeat(10, 0), 0.0, 1.0, colours)
