"""A network stored as operations gives what its module gives, and nothing but arithmetic can be stored."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from toys import LATENT, TOYS

from morelli.errors import MismatchError, MorelliError, UnsuitableProgram
from morelli.generators.capture import capture
from morelli.generators.small_gans import build_generator
from morelli.generators.torch_module import TorchGenerator
from morelli.numerics.program import OPERATIONS, Program, Step
from morelli.numerics.state import State


class Attention(nn.Module):
    """Norms, an attention, shapes computed from shapes: what larger generators are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.GroupNorm(2, 4), nn.Linear(4, 3)
        self.mix = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self.norm(x.reshape(-1, 4, 3)))
        tokens = x.transpose(1, 2)
        return torch.tanh(self.out(self.mix(tokens, tokens, tokens, need_weights=False)[0])).flatten(1)


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{name: (lambda make=make: make(0), (LATENT,)) for name, make in TOYS.items()},
    "dcgan": (lambda: build_generator("dcgan", 4, 3), (100, 1, 1)),
    "lsgan": (lambda: build_generator("lsgan", 4, 3), (100, 1, 1)),
    "attention": (Attention, (LATENT,)),
}


def through_json(program: Program) -> Program:
    state = program.state()
    return Program.from_state(State.rebuild(json.loads(json.dumps(state.describe())), state.flatten()))


@pytest.mark.parametrize("name", MODULES)
def test_a_stored_module_gives_the_same_values_and_slopes(name: str) -> None:
    make, shape = MODULES[name]
    module = make().eval()
    program = through_json(capture(module, shape))
    z = torch.randn(7, *shape, generator=torch.Generator().manual_seed(9), requires_grad=True)
    expected, found = module(z), program(z)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    slopes = [torch.autograd.grad(output.square().sum(), z)[0] for output in (expected, found)]
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-4, atol=1e-6)


def test_the_module_keeps_its_mode() -> None:
    module = build_generator("dcgan", 4, 3).train()
    capture(module, (100, 1, 1))
    assert all(inner.training for inner in module.modules())


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


def test_noise_inputs_can_count_as_their_mean() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(through_json(capture(Noisy(), (4,), noiseless=True))(x), x)


class Counted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), 2, 2)


def test_one_number_of_samples_alone_is_told_from_other_faults() -> None:
    with pytest.raises(UnsuitableProgram, match=r"x\.shape\[0\]"):
        capture(Counted(), (4,))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 1, x + 2


@pytest.mark.parametrize("module", [Noisy(), Branching(), Two()], ids=lambda module: type(module).__name__)
def test_what_cannot_be_stored_is_refused(module: nn.Module) -> None:
    with pytest.raises(UnsuitableProgram):
        capture(module, (4,))


def test_latents_of_a_function_cannot_be_searched() -> None:
    generator = TorchGenerator(TOYS["table"](0), lambda n, rng: torch.rand(n, LATENT, generator=rng), announce=str)
    with pytest.raises(UnsuitableProgram, match="N\\(0, I\\)"):
        generator.program()


def test_every_operation_exists() -> None:
    for name in OPERATIONS:
        Program((1,), (Step(name, (), {}),), {})


@pytest.mark.parametrize("name", ["from_file.default", "randn.default", "__import__", "relu", "relu.__class__", "eval"])
def test_other_operations_are_refused(name: str) -> None:
    with pytest.raises(UnsuitableProgram, match="not among"):
        Program((1,), (Step(name, (), {}),), {})


@pytest.mark.parametrize("reference", [{"step": 1}, {"step": -1}, {"step": 7}, {"tensor": "w"}], ids=str)
def test_references_that_lead_nowhere_are_refused(reference: dict[str, object]) -> None:
    with pytest.raises(UnsuitableProgram, match="does not exist"):
        Program((1,), (Step("relu.default", ([reference],), {}),), {})


def hostile(*steps: Step, **tensors: Tensor) -> State:
    return Program((4,), steps, tensors).state()


X = {"step": 0}
NARROW = {name: {"tensor": "short"} for name in ("weight", "bias", "mean", "variance")}.values()
HOSTILE = {
    "reads beyond a vector": (Step("_native_batch_norm_legit_no_training.default", (X, *NARROW, 0.1, 1e-5), {}),),
    "fills the memory": (Step("full.default", ([2**40], 1.0), {}),),
    "repeats without end": (Step("repeat.default", (X, [2**20, 2**20]), {}),),
    "does not fit": (Step("mm.default", (X, X), {}),),
    "no such result of several": (Step("getitem", (X, "a"), {}),),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_are_refused_on_reading(name: str) -> None:
    state = hostile(*HOSTILE[name], short=torch.ones(1))
    with pytest.raises(UnsuitableProgram):
        Program.from_state(state)


@pytest.mark.parametrize("option", ["device", "layout", "pin_memory", "memory_format"])
def test_a_program_does_not_choose_where_results_are_kept(option: str) -> None:
    with pytest.raises(UnsuitableProgram, match="not its business"):
        Program((1,), (Step("clone.default", (X,), {option: "meta"}),), {})


class Cast(nn.Module):
    """Types, infinities and new tensors: options that are written down by name."""

    def forward(self, x: Tensor) -> Tensor:
        masked = x.masked_fill(x < 0, -torch.inf).clamp(min=-2.0)
        return (masked + torch.zeros(4, dtype=torch.float32)).sum(1, keepdim=True, dtype=torch.float32).float()


def test_types_and_infinities_are_stored() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(through_json(capture(Cast(), (4,)))(x), Cast()(x))


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.full((4,), -torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.mask)  # type: ignore[arg-type]


def test_batch_mates_and_infinite_weights_are_refused() -> None:
    with pytest.raises(UnsuitableProgram, match="others in its batch"):
        capture(Centred(), (4,))
    with pytest.raises(UnsuitableProgram, match="not finite"):
        capture(Masked(), (4,))


def test_another_input_shape_is_refused() -> None:
    with pytest.raises(MismatchError, match="reads"):
        Program((3,), (), {})(torch.zeros(1, 4))
    assert issubclass(UnsuitableProgram, MorelliError)
