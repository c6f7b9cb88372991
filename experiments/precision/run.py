"""The same weights in another precision, runtime or truncation: still attributed?

Run: python experiments/precision/run.py          (interrupted, it goes on where it stopped; needs the extra `onnx`)

Attributors are trained on float32 samples of three DCGANs (seeds 0 to 2) and judge fresh latents, rendered by the same
weights in every other way. Siblings (other seeds, same architecture and data) are judged beside them.
"""

import copy
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p

from morelli.generators.onnx_graph import OnnxModule

TARGETS = ("dcgan-0", "dcgan-1", "dcgan-2")
SIBLINGS = ("dcgan-3", "dcgan-4")
OWN, HELD, TEST, FOREIGN = 1000, 250, 200, 100  # the held out are of the own
PSI = (1.0, 0.7, 0.5)
METHODS = {
    "imprint": {"perturb": ("none",)},
    "closed form, LDA": {"method": "flipad", "detector": "lda", "inversion": "closed-form", "turned": True},
}
TRAINED = {"1": (1.0, 1.0), "0.5": (0.5, 0.5), "0.5 to 1": (0.5, 1.0)}  # truncation of the own samples: between these


def latents(n: int, seed: int, low: float = 1.0, high: float = 1.0) -> Tensor:
    """N(0, I) times ψ, drawn evenly between two values for each sample: truncation towards the mean latent."""
    rng = torch.Generator().manual_seed(seed)
    psi = low + (high - low) * torch.rand(n, 1, 1, 1, generator=rng)
    return psi * torch.randn(n, 100, 1, 1, generator=rng)


def rendered(run: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Samples as 8-bit PNG holds them."""
    made = torch.cat([run(part).float().clamp(-1, 1) for part in z.split(100)])
    return p.seen(p.to_eight_bits(made, p.SPEC), 0, "none")


class Framed(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.enter, self.body = torch.ao.quantization.QuantStub(), body
        self.leave = torch.ao.quantization.DeQuantStub()

    def forward(self, z: Tensor) -> Tensor:
        return self.leave(self.body(self.enter(z)))


def static_int8(module: nn.Module) -> nn.Module:
    """Weights and activations in int8, the tanh as well: torch's own static quantisation."""
    torch.backends.quantized.engine = "qnnpack"
    framed = Framed(copy.deepcopy(module)).eval()
    framed.qconfig = torch.ao.quantization.get_default_qconfig("qnnpack")
    torch.ao.quantization.prepare(framed, inplace=True)
    framed(latents(256, 900))
    return torch.ao.quantization.convert(framed, inplace=True)


def weight_int8(module: nn.Module) -> nn.Module:
    """Weights rounded to 8 bits, one scale for each tensor; computed in float32. What dynamic quantisation makes of
    layers whose inputs it leaves alone; torch's own knows linear layers only, and a DCGAN has none."""
    rounded = copy.deepcopy(module)
    for layer in rounded.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            scale = layer.weight.abs().max() / 127
            layer.weight.copy_((layer.weight / scale).round() * scale)
    return rounded


def exported(module: nn.Module, folder: str) -> nn.Module:
    path = f"{folder}/generator.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"z": {0: "n"}, "x": {0: "n"}}
        options = {"input_names": ["z"], "output_names": ["x"], "dynamic_axes": axes, "dynamo": False}
        torch.onnx.export(module, (torch.randn(2, 100, 1, 1),), path, **options)
    return OnnxModule(path)


def renderings(module: nn.Module, folder: str) -> dict[str, Callable[[Tensor], Tensor]]:
    bf16, fp16 = copy.deepcopy(module).bfloat16(), copy.deepcopy(module).half()
    return {
        "float32": module,
        "bf16": lambda z: bf16(z.bfloat16()),
        "fp16": lambda z: fp16(z.half()),
        "int8 weights": weight_int8(module),
        "int8 static": static_int8(module),
        "compiled": torch.compile(module),
        "onnxruntime": exported(module, folder),
    }


def share(attributor: p.Attributor, samples: Tensor) -> float:
    found = attributor.judge(samples)
    return round(sum(v.outcome.value == "attributed" for v in found) / len(found), 4)


def sources(generators: dict, name: str) -> dict[str, Tensor]:
    """All that is judged. The same latents in every rendering, so that only the rendering differs."""
    module, found = generators[name].module, {}
    with tempfile.TemporaryDirectory() as folder:
        for way, run in renderings(module, folder).items():
            found[way] = rendered(run, latents(TEST, 300))
    for psi in PSI:
        found[f"ψ {psi}"] = rendered(module, latents(TEST, 301, psi, psi))
    for sibling in SIBLINGS:
        other = generators[sibling].module
        half = copy.deepcopy(other).bfloat16()
        found[f"{sibling}"] = rendered(other, latents(FOREIGN, 302))
        found[f"{sibling}, bf16"] = rendered(lambda z, half=half: half(z.bfloat16()), latents(FOREIGN, 302))
        found[f"{sibling}, ψ 0.5"] = rendered(other, latents(FOREIGN, 303, 0.5, 0.5))
    return found


def cell(head: p.morelli.Head, own: Tensor, options: dict, judged: dict[str, Tensor]) -> dict:
    """Attributed shares, and how far the renderings are apart in grey levels."""
    ways = ("bf16", "fp16", "int8 weights", "int8 static", "compiled", "onnxruntime")
    differs = {way: round(float((judged[way] - judged["float32"]).abs().mean()) * 127.5, 4) for way in ways}
    attributor = p.morelli.train(head, own, rate=p.RATE, held_out=HELD, **options)
    return {"grey levels": differs, "attributed": {n: share(attributor, x) for n, x in judged.items()}}


def main() -> None:
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore", DeprecationWarning)
    settings = {"own": OWN, "held_out": HELD, "test": TEST, "foreign": FOREIGN, "psi": PSI, "methods": METHODS}
    run = p.Run(__file__, settings | {"trained": TRAINED})
    generators = p.generators("seeds")
    run.content["generators"] = {name: generators[name].digest() for name in (*TARGETS, *SIBLINGS)}
    for name in TARGETS:
        known = [f"{name}/{method}/{trained}" in run.content["cells"] for trained in TRAINED for method in METHODS]
        if all(known):
            continue
        judged, head = sources(generators, name), p.head_of(generators[name])
        for trained, (low, high) in TRAINED.items():
            own = rendered(generators[name].module, latents(OWN, 100, low, high))
            for method, options in METHODS.items():
                work = partial(cell, head, own, options, judged)
                print("  ", run.cell(f"{name}/{method}/{trained}", work)["attributed"], flush=True)
    run.save()


if __name__ == "__main__":
    main()
