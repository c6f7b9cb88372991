"""Crops of photographs for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from morelli.errors import UnreadableSample
from morelli.storage.crops import crops


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for i, (w, h) in enumerate([(40, 90), (16, 16), (15, 90), (33, 200)]):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)).save(paths[-1])
    return paths


def test_so_many_of_each_that_is_large_enough(photographs: list[Path]) -> None:
    done = []
    found = crops(photographs, 16, each=5, progress=done.append)
    assert found.shape == (15, 3, 16, 16)
    assert found.dtype == torch.uint8
    assert sum(done) == len(photographs)
    assert len(found.flatten(1).unique(dim=0)) == 11  # the 16×16 one has a single crop


def test_a_photograph_of_the_crops_size_is_itself(photographs: list[Path]) -> None:
    image = torch.from_numpy(np.array(Image.open(photographs[1]))).permute(2, 0, 1)
    assert torch.equal(crops(photographs[1:2], 16)[0], image)


def test_the_seed_decides(photographs: list[Path]) -> None:
    assert torch.equal(crops(photographs, 16, seed=1), crops(photographs, 16, seed=1))
    assert not torch.equal(crops(photographs, 16, seed=1), crops(photographs, 16, seed=2))


def test_flat_photographs_stay_flat(tmp_path: Path) -> None:
    Image.new("RGB", (70, 50), (10, 200, 31)).save(tmp_path / "flat.png")
    found = crops([tmp_path / "flat.png"], 16, each=4)
    assert (found == torch.tensor([10, 200, 31])[:, None, None]).all()


def test_no_photograph_is_large_enough(photographs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UnreadableSample, match="give larger ones"):
        crops(photographs, 91)
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(UnreadableSample, match=r"text\.png starts with"):
        crops([tmp_path / "text.png"], 16)
