"""A folder of grey images, DICOM or others → 128×128 pictures of 16 bits, from which all generators learn alike."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from morelli import SampleSpec, write_image
from morelli.app.gans import read_labels
from morelli.errors import MismatchError, TooFewSamples, UnreadableSample
from morelli.numerics.file_form import ANY, FileForm
from morelli.storage.dicom import is_dicom
from morelli.storage.samples import find, read

SIDE = 128
SPEC = SampleSpec((1, SIDE, SIDE), form=FileForm(levels=65536))


def prepare(folder: Path, work: Path) -> dict:
    """Writes every readable image to `work`/images, its class the first sub-folder, once. Returns what was found.

    Raises:
        UnreadableSample: there is no such folder, or no image in it that can be read.
        MismatchError: images outside of sub-folders, fewer than two classes, or `work` is of other images.
    """
    files = find(folder)
    digest = sha256("".join(sha256(file.read_bytes()).hexdigest() for file in files).encode())
    digest.update("".join(str(file.relative_to(folder)) for file in files).encode())
    record = work / "images.json"
    if record.exists():
        about = json.loads(record.read_text())
        if about["sha256"] != digest.hexdigest():
            raise MismatchError(f"{work} is of other images ({about['folder']}). Delete it, or name another by --work.")
        return about
    found, refused = _read(files)
    names, labels = read_labels(folder, list(found))
    counts = dict.fromkeys(names, 0)
    shutil.rmtree(work / "images", ignore_errors=True)
    for name in names:
        (work / "images" / name).mkdir(parents=True)
    for label, sample in zip(labels.tolist(), found.values(), strict=True):
        name = names[label]
        write_image(sample, work / "images" / name / f"{counts[name]:05d}.png", SPEC)
        counts[name] += 1
    about = {"folder": folder.name, "sha256": digest.hexdigest(), "images": counts, "refused": refused}
    record.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return about


def _read(files: list[Path]) -> tuple[dict[Path, Tensor], list[str]]:
    found, refused = {}, []
    for file in files:
        try:
            found[file] = patch(file)
        except (MismatchError, UnreadableSample) as error:
            refused.append(str(error))
    if not found:
        raise UnreadableSample(f"none of {len(files)} files is a grey image to learn from. The first: {refused[0]}")
    return found, refused


def patch(file: Path) -> Tensor:
    """[1, 128, 128] in [−1, 1]: the central square of a grey image, every pixel the mean of the area it covers.

    16 bits stay 16, and DICOM is read in the file's own window.

    Raises:
        MismatchError: the image is smaller than that, or in colour.
        UnreadableSample: it is none; see `morelli.storage.samples.read`.
    """
    width, height = _size(file)
    side = min(width, height)
    if side < SIDE:
        raise MismatchError(f"{file.name} is {width}x{height}; expected at least {SIDE} pixels a side.")
    grey = read(file, SampleSpec((1, height, width), form=FileForm(levels=ANY))).samples[0, 0]
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(grey[top : top + side, left : left + side].numpy())
    return torch.from_numpy(np.array(square.resize((SIDE, SIDE), Image.Resampling.BOX)))[None]


def _size(file: Path) -> tuple[int, int]:
    """Width and height when upright."""
    try:
        if is_dicom(file.read_bytes()):
            from pydicom import dcmread

            header = dcmread(file, stop_before_pixels=True)
            return int(header.Columns), int(header.Rows)
        with Image.open(file) as image:
            return ImageOps.exif_transpose(image).size
    except Exception as error:  # decoders raise nearly every kind on damaged files
        raise UnreadableSample(f"{file.name} is not a sound picture ({type(error).__name__}).") from error


def check(counts: dict[str, int], least: int) -> None:
    """Raises TooFewSamples where a class has fewer images than a generator could learn from."""
    small = {name: count for name, count in counts.items() if count < least}
    if small:
        listed = ", ".join(f"{name} has {count}" for name, count in small.items())
        raise TooFewSamples(f"{listed}; at least {least} images of each class are needed. Add images or merge classes.")
