"""What other libraries set for the whole process does not reach our reading."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from morelli.errors import UnreadableSample
from morelli.features.protocol import SampleSpec
from morelli.storage.samples import read


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_half_a_picture_is_refused_whatever_pillow_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as importing WeasyPrint does
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, kind)
    (tmp_path / "a").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(UnreadableSample, match="damaged or cut short"):
        read(tmp_path / "a", SampleSpec((3, 32, 32)))
