"""Checkpoints: the right set of weights, prefixes taken off, and errors that name what does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from morelli import load_weights
from morelli.errors import MismatchError, UnreadableBundle


def module(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))


def prefixed(prefix: str, seed: int = 1) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in module(seed).state_dict().items()}


def assert_loaded(target: nn.Module, seed: int = 1) -> None:
    for name, value in module(seed).state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


@pytest.mark.parametrize(
    "weights",
    [
        prefixed(""),
        prefixed("module."),
        prefixed("module.module."),
        prefixed("_orig_mod.module."),
        prefixed("generator."),
        {"n_averaged": torch.tensor(3), **prefixed("module.")},
        {"state_dict": prefixed("module."), "epoch": 3},
        {"critic": {"0.weight": torch.zeros(1)}, "nested": {"generator": prefixed("")}},
        {**prefixed("generator."), "critic.a.weight": torch.zeros(2)},
    ],
    ids=range(9),
)
def test_finds_the_weights(weights: dict) -> None:
    target = module()
    assert load_weights(target, weights) is target
    assert_loaded(target)


@pytest.mark.parametrize(
    ("weights", "names"),
    [
        ({"g": prefixed("", 1), "g_ema": prefixed("", 2)}, ("g", "g_ema")),
        ({**prefixed("g.", 1), **prefixed("g_ema.", 2)}, ("g", "g_ema")),
        ({"model": {**prefixed("net.", 1), **prefixed("ema.", 2)}}, ("model.net", "model.ema")),
    ],
)
def test_of_a_moving_average_and_the_last_step_one_must_be_named(weights: dict, names: tuple[str, str]) -> None:
    target = module()
    with pytest.raises(MismatchError, match=rf"'{names[0]}' and '{names[1]}'.*moving average \(ema\).*part="):
        load_weights(target, weights)
    assert_loaded(target, 0)
    assert_loaded(load_weights(target, weights, part=names[1]), 2)
    assert_loaded(load_weights(target, weights, names[0]), 1)
    with pytest.raises(MismatchError, match=f"no weights 'slow'; it has '{names[0]}', '{names[1]}'"):
        load_weights(target, weights, "slow")


def test_what_does_not_fit_is_named() -> None:
    weights = prefixed("module.")
    del weights["module.0.bias"]
    weights |= {"module.2.weight": torch.zeros(3, 4, 1, 1), "module.extra": torch.zeros(1)}
    target = module()
    says = r"missing 0.bias; not expected extra; 2.weight is \(3, 4, 1, 1\) where \(3, 3, 1, 1\) is expected"
    with pytest.raises(MismatchError, match=says):
        load_weights(target, weights)
    assert_loaded(target, 0)
    with pytest.raises(MismatchError, match=r"missing 0.weight, 0.bias, 1.weight and 5 more; not expected a"):
        load_weights(target, {"a": torch.zeros(1)})
    with pytest.raises(MismatchError, match="no tensors in the checkpoint; at its top are epoch"):
        load_weights(target, {"epoch": 1})


def test_files(tmp_path: Path) -> None:
    save_file(prefixed("g_ema."), tmp_path / "weights.safetensors")
    assert_loaded(load_weights(module(), tmp_path / "weights.safetensors"))
    torch.save(prefixed(""), tmp_path / "weights.pt")
    with pytest.raises(UnreadableBundle, match=r"weights.pt is no safetensors file .*weights_only=True"):
        load_weights(module(), tmp_path / "weights.pt")


def test_counters_that_old_checkpoints_lack_are_not_missed() -> None:
    weights = {name: value for name, value in prefixed("").items() if "num_batches" not in name}
    assert_loaded(load_weights(module(), weights))
