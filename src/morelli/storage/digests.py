"""The digest of what was decoded: the same pixels have the same one, whatever file they lie in."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from torch import Tensor

from morelli.features.protocol import SampleSpec
from morelli.numerics.file_form import LEVELS
from morelli.storage.depth import to_eight_bits, to_sixteen_bits


def digest_of(samples: Tensor, spec: SampleSpec) -> str:
    """SHA-256 of samples [n, *spec.shape] as they are judged.

    Of pictures of 8 bits over the bytes of [height, width, channels], of deeper ones the same of 16 bits, of sound and
    rows of float32; the first byte of each number is its least.
    """
    if spec.is_image and spec.form.levels <= LEVELS:
        content = to_eight_bits(samples, spec).permute(0, 2, 3, 1).numpy()
    elif spec.is_image:
        content = to_sixteen_bits(samples, spec).permute(0, 2, 3, 1).numpy().astype("<u2")
    else:
        content = samples.float().numpy().astype("<f4")
    return sha256(np.ascontiguousarray(content).tobytes()).hexdigest()
