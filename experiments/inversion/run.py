"""Which inversion attributes best? Features × detectors × what happened to the files, on four generators.

Run: python experiments/inversion/run.py [target …]; features already in <target>.json are not computed again.
"""

import json
import runpy
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import max_pool2d

import morelli
from morelli.detectors.deep_sad import DeepSadRecipe
from morelli.detectors.lda import LdaRecipe
from morelli.detectors.mahalanobis import MahalanobisRecipe
from morelli.features.inversion import Inversion
from morelli.features.observation import EightBit, Jpeg, Weighted
from morelli.features.prior import Gaussian, Sparse
from morelli.numerics.calibration import threshold
from morelli.numerics.metrics import auroc, balanced_accuracy
from morelli.numerics.perturbations import parse
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.least_squares import LeastSquares
from morelli.numerics.solvers.pdhg import Pdhg
from morelli.storage.images import from_eight_bits, to_eight_bits
from morelli.storage.samples import read_all

HERE = Path(__file__).parent
third_party = runpy.run_path(str(HERE.parent / "third_party" / "run.py"))
mnist_wgan, sibling, vae_decoder = (third_party[name] for name in ("mnist_wgan", "sibling", "vae_decoder"))

POOL, TRAIN, HELD_OUT, TEST = 700, 500, 220, 100  # own; negatives and others alike
SEEDS = (0, 1, 2)  # of which samples of the pool are trained on, and which own ones are held out
RATE = 0.005
TARGETS = ("clothing-dcgan", "celeba64_vae", "mnist28_wgangp", "clothing-lsgan")
CONDITIONS = ("png", "jpeg:90", "jpeg:80", "noise:0.05", "noise:0.1", "blur:3", "crop:60")
IMMUNISED = ("jpeg:80", "noise:0.1")  # conditions for which a detector is also trained on perturbed samples
CERTIFIED = Pdhg(tolerance=0.05, max_steps=100)
LEFT_OUT = {  # for want of computing time on a CPU
    "clothing-lsgan": ("lasso, gap 5 %", "non-negative", "8-bit cell", "weighted"),
    "celeba64_vae": ("non-negative", "8-bit cell", "weighted"),
}


def features(head: morelli.Head) -> dict[str, Inversion]:
    found = {
        "lasso, 20 steps": Inversion(head),
        "closed form": Inversion(head, solver=LeastSquares()),
        "ridge": Inversion(head, solver=LeastSquares(1e-2)),
        "Gaussian prior": Inversion(head, solver=LeastSquares(1e-2), prior=Gaussian()),
        "lasso, gap 5 %": Inversion(head, solver=CERTIFIED),
        "non-negative": Inversion(head, solver=CERTIFIED, prior=Sparse(nonnegative=True)),
        "8-bit cell": Inversion(head, solver=CERTIFIED, observation=EightBit()),
        "weighted": Inversion(head, solver=CERTIFIED, observation=Weighted()),
    }
    if head.map.out_shape[1] % 16 == 0:
        found["JPEG cell, 20 steps"] = Inversion(head, solver=Fista(tolerance=1.0, min_steps=20), observation=Jpeg())
    return found


def gan(name: str) -> morelli.TorchGenerator:
    return morelli.TorchGenerator(morelli.load_generator(name), (100, 1, 1), announce=lambda line: None)


def shifted(module: nn.Module, latent: tuple[int, ...], seed: int, strength: float) -> morelli.TorchGenerator:
    """The same generator with the last layer's weights shifted by a share of their spread."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):  # `sibling` looks for transposed convolutions
            last = layer
    if not any(isinstance(layer, nn.ConvTranspose2d) for layer in module.modules()):
        noise = torch.randn(last.weight.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            last.weight += strength * last.weight.std() * noise
        return morelli.TorchGenerator(module, latent, announce=lambda line: None)
    return morelli.TorchGenerator(sibling(module, seed, strength), latent, announce=lambda line: None)


def sources(target: str) -> dict[str, morelli.TorchGenerator]:
    """The model in question, what is trained against ("negative …"), and what is only judged."""
    if target == "celeba64_vae":
        load, latent = lambda: vae_decoder("celeba64_vae.safetensors"), (10,)
        quiet = morelli.TorchGenerator(vae_decoder("celeba64_betavae.safetensors"), latent, announce=lambda line: None)
        judged = {"sibling": quiet, "foreign": gan("clothing-ebgan")}
        negatives = {"negative gan": gan("clothing-lsgan")}
    elif target == "mnist28_wgangp":
        load, latent = mnist_wgan, (64, 1, 1)
        judged = {"sibling": shifted(load(), latent, 2, 0.1)}
        negatives = {}
    else:
        load, latent = lambda: morelli.load_generator(target), (100, 1, 1)
        other = "clothing-lsgan" if target == "clothing-dcgan" else "clothing-dcgan"
        near = gan("clothing-dcgan-b") if target == "clothing-dcgan" else shifted(load(), latent, 2, 0.1)
        judged = {"sibling": near, "foreign": gan("clothing-ebgan")}
        negatives = {"negative gan": gan(other)}
    own = morelli.TorchGenerator(load(), latent, announce=lambda line: None)
    return {"own": own, "negative shifted": shifted(load(), latent, 1, 0.3)} | negatives | judged


class Files:
    """Samples as files hold them: through 8 bits, perturbed, with the facts that a reader would find."""

    def __init__(self, spec: morelli.SampleSpec) -> None:
        self.spec = spec

    def __call__(self, samples: torch.Tensor, condition: str, seed: int) -> tuple[torch.Tensor, list]:
        stored = to_eight_bits(samples, self.spec)
        if condition.startswith("jpeg"):
            with tempfile.TemporaryDirectory() as folder:
                for i, image in enumerate(stored):
                    write_jpeg(image, Path(folder) / f"{i:05d}.jpg", int(condition.split(":")[1]))
                found = read_all(sorted(Path(folder).iterdir()), self.spec)
            return found.samples, found.facts
        if condition != "png":
            stored = parse(condition).apply(stored, torch.Generator().manual_seed(seed))
        return from_eight_bits(stored, self.spec), [{}] * len(stored)


def write_jpeg(image: torch.Tensor, path: Path, quality: int) -> None:
    from PIL import Image

    pixels = image.movedim(0, -1).squeeze(-1).numpy()
    Image.fromarray(pixels).save(path, quality=quality)


def draws(target: str) -> tuple[morelli.Head, dict[tuple[str, str], tuple[torch.Tensor, list]]]:
    """(source, condition) → samples and facts. Own: POOL to train on, HELD_OUT + TEST from another seed."""
    generators = sources(target)
    head = generators["own"].head(10_000, 0)
    files = Files(morelli.SampleSpec(head.map.out_shape, head.activation.low, head.activation.high))
    found = {}
    negatives = [name for name in generators if name.startswith("negative")]
    pools = {"own train": generators["own"].samples(POOL, 900)}
    for name in negatives:
        pools[name] = generators[name].samples(POOL // len(negatives), 901)
    for name, pool in pools.items():
        for condition in ("png", *IMMUNISED):
            found[name, condition] = files(pool, condition, 1)
    for condition in CONDITIONS:
        for name, generator in generators.items():
            if name in negatives:
                continue
            count = TEST + (HELD_OUT if name == "own" else 0)
            found[name, condition] = files(generator.samples(count, 902), condition, 2)
    return head, found


def detectors(target: str, feature: str) -> dict[str, object]:
    found = {"LDA": LdaRecipe(), "Mahalanobis": MahalanobisRecipe()}
    if target == "clothing-dcgan" and feature in ("lasso, 20 steps", "closed form", "lasso, gap 5 %"):
        found["Deep SAD"] = DeepSadRecipe(epochs=5, drops=(4,), standardise="own", channels=100, bf16=True)
    return found


def judge(target: str, feature: str, values: dict, seed: int) -> list[dict]:
    """All detectors and conditions for one seed. `values`: (source, condition) → features, in half precision."""
    rows = []
    pooled = [1, 2] if next(iter(values.values())).ndim == 4 else [1]
    for pool in pooled:
        at = {key: (max_pool2d(v.float(), pool) if pool > 1 else v.float()) for key, v in values.items()}
        negatives = [name for name, _ in at if name.startswith("negative")]
        trainings = {"clean": "png"} | {f"immunised {c}": c for c in IMMUNISED}
        for training, trained_on in trainings.items():
            if ("own train", trained_on) not in at:
                continue
            own = chosen(at, "own train", trained_on, seed, TRAIN)
            names = dict.fromkeys(negatives)
            other = torch.cat([chosen(at, name, trained_on, seed, TRAIN // len(names)) for name in names])
            for name, recipe in detectors(target, feature).items():
                if name == "Deep SAD" and (seed or pool > 1 or training != "clean"):
                    continue
                detector = recipe.fit(own, None if name == "Mahalanobis" else other, seed)
                conditions = CONDITIONS if training == "clean" else (trained_on,)
                order = torch.randperm(HELD_OUT + TEST, generator=torch.Generator().manual_seed(seed))
                clean = detector.score(at["own", "png"][order[:HELD_OUT]])
                for condition in conditions:
                    mine = detector.score(at["own", condition][order])
                    row = {"target": target, "feature": feature, "pool": pool, "detector": name, "training": training}
                    row |= {"condition": condition, "seed": seed}
                    limits = {"clean": threshold(clean, RATE), "recalibrated": threshold(mine[:HELD_OUT], RATE)}
                    for source in ("sibling", "foreign"):
                        if (source, condition) not in at:
                            continue
                        theirs = detector.score(at[source, condition])
                        tested = mine[HELD_OUT:]
                        row[f"{source} AUROC"] = round(auroc(tested, theirs), 4)
                        for kind, limit in limits.items():
                            row[f"{source} {kind}"] = round(balanced_accuracy(tested <= limit, theirs <= limit), 4)
                    rows.append(row)
    return rows


def chosen(at: dict, name: str, condition: str, seed: int, count: int) -> torch.Tensor:
    """Samples to train on; for a condition half of them clean, as immunised training has it."""
    order = torch.randperm(len(at[name, "png"]), generator=torch.Generator().manual_seed(seed))[:count]
    half = count // 2
    return torch.cat([at[name, "png"][order[:half]], at[name, condition][order[half:]]])


def main() -> None:
    settings = {"pool": POOL, "train": TRAIN, "held_out": HELD_OUT, "test": TEST, "seeds": SEEDS, "rate": RATE}
    settings |= {"torch": torch.__version__, "morelli": morelli.__version__, "threads": torch.get_num_threads()}
    for target in sys.argv[1:] or TARGETS:
        path = HERE / f"{target}.json"
        run = json.loads(path.read_text()) if path.exists() else {"settings": settings, "rows": [], "costs": {}}
        head, samples = draws(target)
        for name, extractor in features(head).items():
            if name in run["costs"] or name in LEFT_OUT.get(target, ()):
                continue
            start, count, values, gaps = time.perf_counter(), 0, {}, []
            quick = extractor.solver is not CERTIFIED
            for (source, condition), (images, facts) in samples.items():
                if not quick and condition in IMMUNISED and (source == "own train" or source.startswith("negative")):
                    continue
                found = extractor.extract(images, facts=facts)
                values[source, condition] = found.values.half()
                gaps.append(found.notes["gap"])
                count += len(images)
            seconds = time.perf_counter() - start
            for seed in SEEDS:
                run["rows"] += judge(target, name, values, seed)
            run["costs"][name] = {
                "ms": round(1e3 * seconds / count, 2),
                "gap": round(torch.cat(gaps).median().item(), 4),
            }
            path.write_text(json.dumps(run) + "\n")
            print(target, name, run["costs"][name], round(time.perf_counter() - start), "s", flush=True)


if __name__ == "__main__":
    main()
