"""The CT head that the Debian package invesalius-examples ships → DICOM patches of 128×128 in two classes.

Run: python experiments/medical/ct.py Cranium.inv3 FOLDER

Cranium.inv3 lies in /usr/share/doc/invesalius-examples/examples; package and file are GPL-2. It is one head: 108 axial
slices of 256×256, 0.957 mm a pixel, 1.5 mm apart, in Hounsfield units of 12 bits. Patches overlap by up to two thirds.
"""

import plistlib
import sys
import tarfile
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

SIDE, STARTS = 128, (0, 43, 85, 128)  # of a patch, and where patches begin in a row or column of 256
WINDOW = (300, 1500)  # centre and width: air is black, all but the densest bone below white
TISSUE, SHARE = -300, 0.25  # a patch is kept where more than this share of it is denser than that
AIR = -1024  # Hounsfield units that are stored as 0
CLASSES = ("base", "vault")  # lower and upper half of the slices


def volume(file: Path) -> np.ndarray:
    """int16 [slices, h, w] in Hounsfield units, first slice lowest."""
    with tarfile.open(file) as archive:
        members = {Path(member.name).name: member for member in archive.getmembers()}
        about = plistlib.loads(archive.extractfile(members["main.plist"]).read())["matrix"]
        data = archive.extractfile(members[about["filename"]]).read()
    return np.frombuffer(data, about["dtype"]).reshape(about["shape"])


def patches(slices: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """(class, [128, 128]) of every patch that is not mostly air."""
    found = []
    for i, one in enumerate(slices):
        label = CLASSES[2 * i // len(slices)]
        for top in STARTS:
            for left in STARTS:
                patch = one[top : top + SIDE, left : left + SIDE]
                if (patch > TISSUE).mean() > SHARE:
                    found.append((label, patch))
    return found


def write(patch: np.ndarray, file: Path) -> None:
    """As DICOM of 12 bits, in the window that all share."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    data = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Modality, data.SOPClassUID, data.SOPInstanceUID = "CT", meta.MediaStorageSOPClassUID, generate_uid()
    data.Rows, data.Columns = patch.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.RescaleSlope, data.RescaleIntercept = 1, AIR
    data.WindowCenter, data.WindowWidth = WINDOW
    data.PixelData = (patch.astype(np.int32) - AIR).clip(0, 4095).astype("<u2").tobytes()
    data.save_as(file, enforce_file_format=True)


def main(source: Path, folder: Path) -> None:
    counts = dict.fromkeys(CLASSES, 0)
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
    for label, patch in patches(volume(source)):
        write(patch, folder / label / f"{counts[label]:05d}.dcm")
        counts[label] += 1
    print(f"{counts} written to {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
