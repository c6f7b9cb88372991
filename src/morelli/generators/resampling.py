"""The matrices of an up-sampling, whatever operations it is made of: read off what it does to single lines."""

from __future__ import annotations

import torch
from torch import Tensor

from morelli.generators.graph import Node

CLOSE = 1e-5  # largest difference between an operation and its matrices, relative to what it gives


def resampling_matrices(node: Node, source: Node) -> tuple[Tensor, ...] | None:
    """A matrix [out, in] for each axis, if `node` is a linear function of `source` that filters every axis by itself.

    The operations between the two are run again, on pictures of one line each and at last on random ones, which the
    matrices must reproduce.
    """
    if not 3 <= len(source.shape) <= 4:
        return None
    sizes, many = source.shape[2:], source.shape[0] * source.shape[1]
    middle = [size // 2 for size in sizes]

    def run(pictures: Tensor) -> Tensor:
        """[k, *sizes] → [k, *out]; as many at a time as the pass had."""
        spare = -len(pictures) % many
        filled = torch.cat([pictures, pictures.new_zeros(spare, *sizes)])
        made = [node.replay({source: part.reshape(source.shape)}) for part in filled.split(many)]
        return torch.cat(made).reshape(-1, *node.shape[2:])[: len(pictures)]

    with torch.no_grad():
        centre = source.like.new_zeros(1, *sizes)
        centre[(0, *middle)] = 1.0
        answer = run(centre)[0]
        peak = [int(i) for i in torch.unravel_index(answer.abs().argmax(), answer.shape)]
        top = answer[tuple(peak)]
        axes = []
        for axis, size in enumerate(sizes):
            lines = source.like.new_zeros(size, *sizes)
            for k in range(size):
                at = list(middle)
                at[axis] = k
                lines[(k, *at)] = 1.0
            rest = [slice(None) if a == axis else peak[a] for a in range(len(sizes))]
            found = run(lines)[(slice(None), *rest)].T
            axes.append(found if axis == 0 else found / top)
        noise = torch.randn(many, *sizes, generator=torch.Generator().manual_seed(0)).to(source.like)
        expected, made = run(noise), noise
        for axis, matrix in enumerate(axes):
            made = (made.movedim(1 + axis, -1) @ matrix.T).movedim(-1, 1 + axis)
    close = float((made - expected).abs().max()) <= CLOSE * float(expected.abs().max())
    return tuple(axes) if close and bool(top != 0) else None
