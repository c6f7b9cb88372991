"""Maps from what weights tell to fingerprints: ridge regressions, always judged on families that they did not see."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from morelli.generators.simulation import Tail

FOLDS = 6
STRENGTHS = tuple(10.0**e for e in range(-3, 4))  # of the penalty, in units of the mean eigenvalue
SIDE = 16  # frequencies
FLOOR = 1e-6


def kernel_features(tail: Tail) -> Tensor:
    """[d] of the last linear layer: per colour log power of its kernels at 16×9 frequencies, the coherence of colours,
    energies of the four phases of a stride of two, the bias, and the same power of the layer before."""
    layers = [x for x in tail.module.modules() if getattr(x, "weight", None) is not None and x.weight.ndim == 4]
    last = _kernel(layers[-1])
    last = last[-3:] if len(last) < 12 else last.reshape(3, -1, *last.shape[1:]).mean(1)
    last = last.expand(3, -1, -1, -1)
    spectrum = torch.fft.rfft2(last, s=(SIDE, SIDE))
    power = (spectrum.abs().square().mean(1) + FLOOR).log()
    cross = [(spectrum[i] * spectrum[i + 1].conj()).mean(0).real for i in range(2)]
    norm = [spectrum[i].abs().square().mean(0).sqrt() for i in range(3)]
    coherence = torch.stack([cross[i] / (norm[i] * norm[i + 1] + FLOOR) for i in range(2)])
    phases = torch.stack(
        [(last[:, :, a::2, b::2].square().sum((1, 2, 3)) + FLOOR).log() for a in (0, 1) for b in (0, 1)]
    )
    bias = getattr(layers[-1], "bias", None)
    bias = torch.zeros(3) if bias is None else bias.detach()[-3:].expand(3)
    before = torch.fft.rfft2(_kernel(layers[-2]).flatten(0, 1), s=(SIDE, SIDE)) if len(layers) > 1 else spectrum[0]
    plane = (before.abs().square().mean(0) + FLOOR).log()
    return torch.cat([x.flatten() for x in (power, coherence, phases, bias, plane)]).detach().float()


def _kernel(layer: nn.Module) -> Tensor:
    """[out, in, k, k]"""
    weight = layer.weight.detach()
    weight = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
    return functional.pad(weight, (0, weight.shape[-1] % 2) * 2)


def predicted(x: Tensor, y: Tensor, families: list[str], train: list[bool]) -> Tensor:
    """Ridge of y [n, e] on x [n, d]. Trained on those in `train`; of these each is predicted by a fit that has not seen
    its family."""
    usable = torch.tensor(train)
    names = sorted({family for family, ok in zip(families, train, strict=True) if ok})
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0)).tolist()
    fold = {name: i % FOLDS for i, name in enumerate(names[j] for j in order)}
    part = torch.tensor([fold.get(f, FOLDS) if ok else FOLDS for f, ok in zip(families, train, strict=True)])
    found = torch.zeros_like(y)
    for i in range(FOLDS + 1):
        rows = part == i
        if rows.any():
            mine = usable & ~rows
            found[rows] = fitted(x[mine], y[mine], part[mine], x[rows])
    return found


def fitted(x: Tensor, y: Tensor, parts: Tensor, new: Tensor) -> Tensor:
    """The strength of the penalty is the one that predicts left-out parts best."""
    errors = torch.zeros(len(STRENGTHS))
    for part in parts.unique():
        rest = parts != part
        for i, strength in enumerate(STRENGTHS):
            errors[i] += (ridge(x[rest], y[rest], x[~rest], strength) - y[~rest]).square().sum()
    return ridge(x, y, new, STRENGTHS[int(errors.argmin())])


def ridge(x: Tensor, y: Tensor, new: Tensor, strength: float) -> Tensor:
    """Inputs brought to mean 0 and variance 1; in its dual form."""
    centre, spread, mean = x.mean(0), x.std(0).clamp_min(1e-6), y.mean(0)
    z, asked = ((v - centre) / spread for v in (x, new))
    gram = (z @ z.T).double()
    penalty = strength * gram.diagonal().mean()
    weights = torch.linalg.solve(gram + penalty * torch.eye(len(z), dtype=torch.float64), (y - mean).double())
    return mean + ((asked @ z.T).double() @ weights).float()
