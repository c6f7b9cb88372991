"""`morelli head` from what owners hold: a conditional factory, a checkpoint that does not fit, an ONNX graph."""

import sys
import warnings
from pathlib import Path

import pytest
import torch

import morelli

FACTORY = """
import torch, morelli
from torch import nn

def latent(n, rng):
    return torch.randn(n, 8, 1, 1, generator=rng), torch.randint(3, (n,), generator=rng)

class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.label, self.first = nn.Embedding(3, 8), nn.ConvTranspose2d(8, 8, 4)
        self.last = nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, z, label):
        return self.last(self.first(z + self.label(label)[..., None, None]).relu()).tanh()

def module():
    torch.manual_seed(0)
    return Conditional()

def conditional():
    return morelli.TorchGenerator(module(), latent, announce=lambda line: None)

def wrong():
    state = module().state_dict()
    state["final.weight"] = state.pop("last.weight")
    return morelli.load_weights(module(), state)

def torch_says_it():
    module().load_state_dict({})
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_in):
    (tmp_path / "labelled_gan.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "labelled_gan", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    run = run_in(tmp_path)

    def said(words: str) -> tuple[int, str]:
        code, out, err = run(*words.split())
        return code, out + err

    return said


def test_a_conditional_generator_comes_from_a_factory_that_returns_a_torch_generator(run, tmp_path: Path) -> None:
    code, said = run("head labelled_gan:conditional --draws 200 --out c.head")
    assert code == 0, said
    assert "'last' (transposed convolution" in said
    head = morelli.load("c.head")
    made = __import__("labelled_gan").conditional()
    torch.testing.assert_close(head.anchor, made.head(200).anchor)
    own = (made.samples(60, 3) * 4).clamp(-1, 1)
    (tmp_path / "own").mkdir()
    for i, sample in enumerate(own):
        morelli.write_image(sample, tmp_path / "own" / f"{i}.png", morelli.SampleSpec((3, 8, 8)))
    options = "--method flipad --inversion closed-form --detector lda --turned --rate 0.1 --out c.attributor"
    code, said = run(f"train c.head --own own {options}")
    assert code == 0, said
    code, said = run("attribute own --with c.attributor")
    assert code == 0, said


def test_without_its_latents_a_conditional_module_is_refused(run) -> None:
    code, said = run("head labelled_gan:module --latent 8x1x1 --out c.head")
    assert code == 2
    assert "cannot be run on latents (16, 8, 1, 1) float32 (TypeError" in said
    assert not Path("c.head").exists()


def test_a_checkpoint_that_does_not_fit_is_told_in_one_line(run) -> None:
    code, said = run("head labelled_gan:wrong --latent 8x1x1 --out c.head")
    assert (code, said.count("\n")) == (2, 1)
    assert "missing last.weight; not expected final.weight" in said
    code, said = run("head labelled_gan:torch_says_it --latent 8x1x1 --out c.head")
    assert (code, said.count("\n")) == (2, 1)
    assert 'Missing key(s) in state_dict: "label.weight", "first.weight"' in said


def test_an_onnx_graph(run) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(5, 12), torch.nn.Unflatten(1, (3, 2, 2)), torch.nn.Tanh()).eval()
    names = {"input_names": ["z"], "output_names": ["x"], "dynamic_axes": {"z": {0: "n"}, "x": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.randn(2, 5),), "g.onnx", dynamo=False, **names)
    code, said = run("head --onnx g.onnx --draws 100 --out g.head")
    assert code == 0, said
    head = morelli.load("g.head")
    plain = morelli.TorchGenerator(module, (5,), announce=lambda line: None).head(100)
    torch.testing.assert_close(head.anchor, plain.anchor)
    assert torch.equal(head.map.weight, plain.map.weight)
    code, said = run("head --onnx g.onnx --out g.head")
    assert code == 2
    assert "--overwrite" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "give one source"),
        ("labelled_gan:module --onnx g.onnx", "give one source"),
        (
            "--onnx g.onnx --whole --latent 5",
            "--whole, --latent given, but only a factory takes them, and this is --onnx",
        ),
        ("--onnx g.onnx --size 64", "--size given, but only --diffusers takes it, and this is --onnx. Leave it out."),
        ("labelled_gan:module --latent 8x1x1 --source own", "--source given, but only --diffusers takes it"),
        ("--diffusers vae --latent 4", "--latent given, but only a factory takes it"),
        (
            "--diffusers vae --levels 4096 --layer last",
            "--layer, --levels given, but only a factory or --onnx takes them",
        ),
        ("--diffusers vae --window 300,1500", "--window given"),
        ("--onnx nothing.onnx", "nothing.onnx is no file"),
    ],
)
def test_one_source_is_asked_for(words: str, says: str, run) -> None:
    code, said = run(f"head {words} --out x.head")
    assert code == 2
    assert says in said
    assert not Path("x.head").exists()
