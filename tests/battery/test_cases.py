"""The battery's tables hold every row of the package's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from battery import cases
from toys import TOYS, toy_heads

from morelli import Head, Tanh
from morelli.attribution import kinds
from morelli.errors import MismatchError, UnsuitableProgram
from morelli.numerics import maps, solvers
from morelli.numerics.linear import Geometry, TransposedConv
from morelli.numerics.program import Program


def test_maps_are_complete() -> None:
    assert {name.split()[0] for name in cases.MAPS} == set(maps.MAPS)


def test_solvers_are_complete() -> None:
    folder = Path(solvers.__path__[0])
    assert set(cases.SOLVERS) | set(cases.CLOSED_FORMS) == {file.stem for file in folder.glob("*.py")} - {"__init__"}


def test_extractors_are_complete() -> None:
    assert set(cases.EXTRACTORS) | set(cases.SOUND_EXTRACTORS) == set(kinds.EXTRACTORS)


def test_detectors_are_complete() -> None:
    assert (
        set(cases.DETECTORS) == set(kinds.DETECTORS) == set(kinds.RECIPES) | {"folds", "stacked", "conditional"}
    )  # one wraps, two go with a method


def test_methods_are_complete() -> None:
    assert set(cases.METHODS) == set(kinds.METHODS)


def test_every_toy_has_a_head() -> None:
    heads = toy_heads()
    assert set(heads) == set(TOYS)
    assert {name: type(head.map).__name__ for name, head in heads.items()} == {
        "deconvolution": "TransposedConv",
        "convolution": "Conv",
        "table": "Dense",
        "audio": "Conv",
        "skips": "LinearSum",
    }
    assert {name: head.map.out_shape for name, head in heads.items()} == {
        "deconvolution": (3, 8, 8),
        "convolution": (3, 8, 8),
        "table": (6,),
        "audio": (1, 64),
        "skips": (3, 8, 8),
    }


@pytest.mark.parametrize("name", kinds.METHODS)
def test_a_method_pairs_an_extractor_with_a_recipe(name: str) -> None:
    wide = kinds.METHODS[name].extractor(_wide_head())
    recipe = kinds.METHODS[name].recipe(wide.spec)
    assert (wide.state().settings["type"], recipe.settings()["type"]) == cases.METHODS[name]


@pytest.mark.parametrize("name", ["sm-inv", "sm-inv-perceptual", "latent", "aedr", "reconstruction"])
def test_full_inversion_needs_the_whole_generator(name: str) -> None:
    with pytest.raises(UnsuitableProgram, match="--whole"):
        kinds.METHODS[name].extractor(toy_heads()["deconvolution"])


def test_log_dct_refuses_tables_in_words() -> None:
    with pytest.raises(MismatchError, match="needs images"):
        kinds.METHODS["dctpad"].extractor(toy_heads()["table"])


def test_imprint_lays_its_patches_on_the_grid_of_the_last_layer() -> None:
    strides = {
        name: kinds.METHODS["imprint"].extractor(toy_heads()[name]).stride
        for name in ("deconvolution", "convolution", "skips")
    }
    assert strides == {"deconvolution": 2, "convolution": 2, "skips": 2}
    for name in ("table", "audio"):
        with pytest.raises(MismatchError, match="use method 'flipad'"):
            kinds.METHODS["imprint"].extractor(toy_heads()[name])


def test_flipad_pools_where_activations_are_as_fine_as_the_image() -> None:
    heads = toy_heads()
    pools = {name: kinds.METHODS["flipad"].extractor(head).state().settings["pool"] for name, head in heads.items()}
    assert pools == {"deconvolution": 1, "convolution": 2, "table": 1, "audio": 1, "skips": 1}


def _wide_head() -> Head:
    weight = torch.zeros(4, 3, 4, 4)
    geometry = Geometry((2, 2), (1, 1), (1, 1))
    return Head(
        TransposedConv(weight, (4, 16, 16), (3, 32, 32), geometry),
        torch.zeros(()),
        Tanh(),
        torch.zeros(4, 16, 16),
        generator=Program((5,), (), {}),
        autoencoder=Program((3, 32, 32), (), {}),
    )
