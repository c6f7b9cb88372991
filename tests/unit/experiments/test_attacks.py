"""The attacks experiment: changes are brought to the PSNR that was asked for, and the published card is sound."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[3] / "experiments" / "attacks"
SPEC = importlib.util.spec_from_file_location("strength", FOLDER / "strength.py")
strength = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(strength)
CARDS = sorted(FOLDER.glob("attack_card*.json"))


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randint(40, 215, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize("decibels", [30.0, 35.0, 45.0])
def test_a_change_meets_its_psnr_in_eight_bits(pictures: torch.Tensor, decibels: float) -> None:
    change = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))
    found = strength.brought_to(pictures, pictures + change, decibels)
    assert torch.equal(found, found.round())
    assert strength.psnr(pictures, found).tolist() == pytest.approx([decibels] * 4, abs=0.1)


def test_a_change_that_replaces_the_image_is_not_scaled_up(pictures: torch.Tensor) -> None:
    shifted = pictures + 1
    assert torch.equal(strength.brought_to(pictures, shifted, 30.0, 1), shifted)
    assert torch.equal(strength.brought_to(pictures, shifted, None), shifted)
    assert float(strength.psnr(pictures, shifted)[0]) == pytest.approx(20 * math.log10(255))


@pytest.mark.parametrize("file", CARDS, ids=lambda file: file.stem)
def test_cards_hold_shares_with_their_intervals(file: Path) -> None:
    card = json.loads(file.read_text())
    assert card["attacks"]
    for row in card["attacks"]:
        assert row["aim"] in ("removal", "forgery")
        assert 0 <= row["low"] <= row["success"] <= row["high"] <= 1
        assert row["samples"] > 0
        assert row["psnr"] is None or 5 < row["psnr"] < 99


def test_the_default_method_has_a_card() -> None:
    assert FOLDER / "attack_card.json" in CARDS
