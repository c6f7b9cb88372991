"""Files are written and judged as users have them judged: by `morelli.attribute`, and as `morelli.identify` ranks.

The latter opens the gallery for every call and also works out p-values, which takes longer than all else here. So the
gallery is kept open, and it is asked for the first candidate alone.
"""

from collections import Counter
from functools import lru_cache
from typing import Any

import torch
from material import CACHE, METHODS, attributor, gallery, p, pixels_of, written
from strength import psnr
from torch import Tensor

from morelli.app.galleries import open_gallery
from morelli.storage.samples import read_picture

kept_open = lru_cache(maxsize=2)(lambda seed: open_gallery(gallery(seed), rate=p.RATE * 10))
LETTERS = {"attributed": "a", "not attributed": "n", "inconclusive": "i"}


def verdicts(
    images: Tensor,
    before: Tensor,
    target: str,
    seed: int,
    *,
    jpeg: int | None = None,
    methods: dict[str, int] | None = None,
) -> dict[str, Any]:
    """By method, one letter for each image: attributed, not, inconclusive. Of the gallery: top match, other.

    And the PSNR against the images before: 5 %, median, 95 %.

    Args:
        jpeg: write JPEG of this quality in place of PNG.
        methods: method → seed of the attributor, and "gallery"; all of this seed otherwise.
    """
    asked = dict.fromkeys([*METHODS, "gallery"], seed) if methods is None else methods
    files = written(images, CACHE / "files" / "judged", jpeg)
    found: dict[str, Any] = {"psnr": _spread(psnr(before, pixels_of(files)))}
    for method, of in asked.items():
        if method == "gallery":
            opened, extractor = kept_open(of)
            pictures, facts = zip(*map(read_picture, files), strict=True)
            values = extractor.extract(pictures)
            values = [opened.world.recentred(v, f["coding"]) for v, f in zip(values, facts, strict=True)]
            queries = torch.stack(values)[:, None]
            scores = torch.stack([opened.adapted.score(entry.fingerprints, queries) for entry in opened.known])
            first = [opened.known[k].name for k in scores.argmin(0).tolist()]
            found[method] = "".join("t" if name == target else "o" for name in first)
            continue
        judged = p.morelli.attribute(files, attributor(method, target, of)).judged
        found[method] = "".join(LETTERS[each.verdict.outcome.value] for each in judged)
        if method == "imprint":
            found["condition"] = dict(Counter(str(each.verdict.notes["condition"]) for each in judged))
    return found


def _spread(decibels: Tensor) -> list[float]:
    shares = torch.tensor([0.05, 0.5, 0.95])
    return [round(float(x), 2) for x in torch.quantile(decibels.clamp(max=99), shares)]
