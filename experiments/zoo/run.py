"""Train generators that are no GANs, each with a last layer of its own, for judging what was trained without them.

Run: python experiments/zoo/run.py [name …]     (some minutes each on one CPU core; what is there already is left)
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load as parse
from safetensors.torch import save
from torch import Tensor, nn

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import protocol as p  # noqa: E402
import vaes  # noqa: E402
from autoencoder import Autoencoder  # noqa: E402
from diffusion import Diffusion  # noqa: E402
from flow import Flow  # noqa: E402
from training import Settings, Training  # noqa: E402

KEPT, RECORD = p.ROOT / "runs/zoo", HERE / "run.json"
UNIT = p.morelli.SampleSpec((3, 64, 64), 0.0, 1.0)
HELD_OUT = 5  # every fifth photograph is never trained on
COUNT, BATCH = 100, 25  # samples for the figure of diversity; drawn together
MODELS: dict[str, tuple[Callable[[], nn.Module], Settings]] = {
    "vae-bilinear": (vaes.bilinear, Settings(1100, 32, 2e-3)),
    "vae-shuffle": (vaes.shuffle, Settings(700, 32, 2e-3, seed=1)),
    "flow": (Flow, Settings(450, 16, 2e-3, seed=2)),
    "diffusion": (Diffusion, Settings(700, 16, 2e-3, seed=3)),
    "vae-patches": (vaes.transformer, Settings(300, 32, 1e-3, seed=4)),
    "latent-decoder": (Autoencoder, Settings(350, 16, 2e-3, seed=5)),
}


@cache
def photographs(data: str, *, held_out: bool) -> Tensor:
    """uint8 [n, 3, 64, 64], in the order of their names."""
    files = [file for i, file in enumerate(p.find(p.DATA / data)) if (i % HELD_OUT == 0) == held_out]
    return p.to_eight_bits(p.read_all(files, UNIT).samples, UNIT)


def load(name: str) -> Callable[[int, int], Tensor]:
    """A model: (n, seed) → n images as files hold them, uint8 [n, 3, 64, 64].

    The latent decoder's are photographs that it was not trained on, in an order of their own for each seed, encoded
    and decoded again; it has as many as there are.
    """
    make, settings = MODELS[name]
    if not is_there(name):
        sys.exit(f"there is no {name} in {KEPT.name}; first run python experiments/zoo/run.py {name}")
    model = make().eval()
    model.load_state_dict(parse(path(name).read_bytes()))

    @torch.no_grad()
    def draw(n: int, seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        if model.latent is None:
            unseen = photographs(settings.data, held_out=True)
            if n > len(unseen):
                raise ValueError(f"{name} decodes photographs, of which there are {len(unseen)}; not {n}.")
            starts = unseen[torch.randperm(len(unseen), generator=rng)[:n]].float() / 255
        else:
            starts = torch.randn(n, *model.latent, generator=rng) * model.temperature
        return p.to_eight_bits(torch.cat([model.decode(some) for some in starts.split(BATCH)]).clamp(0, 1), UNIT)

    return draw


def path(name: str) -> Path:
    return KEPT / f"{name}.safetensors"


def is_there(name: str) -> bool:
    """With the settings of today, and the weights that `run.json` tells of."""
    known = recorded().get(name, {})
    return (
        known.get("settings") == asdict(MODELS[name][1])
        and path(name).exists()
        and sha256(path(name).read_bytes()).hexdigest() == known["sha256"]
    )


def recorded() -> dict[str, dict]:
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def record(name: str, about: dict) -> None:
    known = recorded() | {name: about}
    RECORD.write_text(json.dumps({key: known[key] for key in MODELS if key in known}, indent=1) + "\n")


def spread(pixels: Tensor) -> float:
    """Root mean square difference of two images' values in [0, 1], over all pairs."""
    flat = pixels.flatten(1).double() / 255
    return round(float(torch.pdist(flat).square().mean().div(flat.shape[1]).sqrt()), 4)


def write_sheet(pixels: Tensor, file: Path, side: int = 8) -> None:
    rows = pixels[: side * side].reshape(side, side, 3, 64, 64).permute(0, 3, 1, 4, 2).reshape(64 * side, 64 * side, 3)
    Image.fromarray(rows.contiguous().numpy()).save(file)


def main(name: str) -> None:
    make, settings = MODELS[name]
    KEPT.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    training = Training(make(), settings, path(name).with_suffix(".training"))
    training.run(photographs(settings.data, held_out=False))
    data = save({key: tensor.contiguous() for key, tensor in training.model.state_dict().items()})
    path(name).write_bytes(data)
    last = training.losses[-max(1, settings.steps // 10) :]
    about = {
        "settings": asdict(settings),
        "loss": round(sum(last) / len(last), 4),
        "cpu seconds": round(training.seconds),
        "parameters": sum(weight.numel() for weight in training.model.parameters()),
        "sha256": sha256(data).hexdigest(),
        "torch": torch.__version__,
    }
    record(name, about)
    pixels = load(name)(COUNT, 0)
    others = photographs(settings.data, held_out=True)[:COUNT]
    record(name, about | {"mean distance of samples": spread(pixels), "of photographs": spread(others)})
    training.checkpoint.unlink(missing_ok=True)
    write_sheet(pixels, KEPT / f"{name}.png")
    print(json.dumps({name: recorded()[name]}, indent=1), flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        if not is_there(name):
            main(name)
