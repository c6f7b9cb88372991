"""Where samples for training come from: files or tensors, with what is known of them, perturbed where that is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morelli.attribution.confounds import counted
from morelli.errors import MismatchError, UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.numerics.file_form import LEVELS
from morelli.numerics.head import Head
from morelli.numerics.perturbations import parse
from morelli.storage.depth import from_eight_bits, stored, to_eight_bits
from morelli.storage.samples import find, read_all, read_picture

Source = str | Path | Sequence[str | Path] | Tensor
Stage = Callable[[str, int], Callable[[int], None]]  # (what, how many) → told how many more are done


def silent(what: str, count: int) -> Callable[[int], None]:
    """The stage that shows nothing."""
    return lambda done: None


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples with what their files say: formats counted, files refused, one digest over all."""

    values: Tensor
    facts: Sequence[Mapping[str, Any]]
    about: Mapping[str, Any]


def gather(source: Source, spec: SampleSpec, what: str, stage: Stage) -> Samples:
    """Read all samples of a source. Raises MismatchError for a tensor of another shape, and what reading raises."""
    if isinstance(source, Tensor):
        if tuple(source.shape[1:]) != spec.shape:
            raise MismatchError(f"{what}: the tensor's samples are {tuple(source.shape[1:])}; expected {spec.shape}.")
        content = source.detach().float().cpu().contiguous()
        digest = sha256(content.numpy().tobytes()).hexdigest()
        return Samples(
            content,
            [{}] * len(content),
            {"samples": len(content), "sha256": digest, "formats": {"tensor": len(content)}},
        )
    paths = find(source)
    collection = read_all(paths, spec, progress=stage(what, len(paths)))
    formats: dict[str, int] = {}
    for facts in collection.facts:
        formats[facts["format"]] = formats.get(facts["format"], 0) + 1
    digest = sha256("".join(sorted(facts["sha256"] for facts in collection.facts)).encode()).hexdigest()
    refused = [{"file": path.name, "reason": reason} for path, reason in collection.refused]
    known: list[dict[str, Any]] = [{}] * len(collection.samples)
    if not spec.is_table:
        known = [facts for facts in collection.facts for _ in range(facts.get("windows", 1))]
    about = {"samples": len(collection.samples), "sha256": digest, "formats": formats, "refused": refused[:100]}
    about["facts"] = counted(collection.facts)
    return Samples(collection.samples, known, about)


def sized(head: Head, own: Source) -> Head:
    """A head of images of any size as one of whole images, if the own samples are no larger than its windows."""
    if not head.form.grid:
        return head
    shape = head.map.out_shape[1:]
    if isinstance(own, Tensor):
        return _whole(head)
    for path in find(own):
        try:
            whole = tuple(read_picture(path)[0].shape[1:]) == shape
        except UnreadableSample:
            continue
        return _whole(head) if whole else head
    return head


def _whole(head: Head) -> Head:
    return replace(head, form=replace(head.form, grid=0))


def turned_images(images: Tensor) -> Tensor:
    """[n, c, h, w] → the same images on another grid: a quarter each mirrored, upside down, transposed, turned by half.

    Images that are not square are not transposed but mirrored. Raises MismatchError for what is no image.
    """
    if images.ndim != 4:
        raise MismatchError("samples that are no images cannot be turned. Leave `turned` out, and give other samples.")
    square = images.shape[2] == images.shape[3]
    mirrored, down, transposed, half = images.tensor_split(4)
    transposed = transposed.transpose(2, 3) if square else transposed.flip(3)
    return torch.cat([mirrored.flip(3), down.flip(2), transposed, half.flip(2, 3)])


def perturbed(samples: Samples, spec: SampleSpec, perturb: Sequence[str], seed: int) -> Samples:
    """Each sample through 8 bits and one of the perturbations, in turn; what its file said does not hold any more.

    Raises:
        OutOfRange: there is no such perturbation.
        MismatchError: the samples are no images, or of more than 8 bits.
    """
    chosen = [parse(text) for text in perturb]
    if not spec.is_image:
        raise MismatchError("samples that are no images cannot be perturbed. Leave `perturb` out.")
    pixels, rng = to_eight_bits(samples.values, spec), torch.Generator().manual_seed(seed)
    for i, perturbation in enumerate(chosen):
        pixels[i :: len(chosen)] = perturbation.apply(pixels[i :: len(chosen)], rng)
    return Samples(from_eight_bits(pixels, spec), [{}] * len(pixels), samples.about)


def digests(samples: Tensor, spec: SampleSpec) -> Tensor:
    """[n, *shape] → [n], int64: the first bytes of each sample's SHA-256, by which it is known again in another file.

    Of images, of what their files hold.
    """
    if spec.is_image:
        samples = to_eight_bits(samples, spec) if spec.form.levels == LEVELS else stored(samples, spec)
    else:
        samples = samples.float()
    content = (sha256(sample.numpy().tobytes()).digest() for sample in samples.cpu().contiguous())
    return torch.tensor([int.from_bytes(one[:8], "little", signed=True) for one in content], dtype=torch.int64)
