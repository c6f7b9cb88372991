"""How near the bank of synthetic generators is to real ones, in the spectra of their residuals, and what that rests on.

Run: python experiments/spectra/run.py     (after experiments/bank/run.py; about six minutes; interrupted, it goes on)
"""

import sys
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import figures
import measures
import models as m
import protocol as p
import swap
import torch

SETTINGS = {
    "images": m.COUNT,
    "draws": measures.DRAWS,
    "subsets": measures.SUBSETS,
    "level": measures.LEVEL,
    "swap": swap.SIZES | {"components": swap.COMPONENTS},
}


def digest(found: m.Spectra) -> str:
    return sha256(found.planes.numpy().tobytes()).hexdigest()


def main() -> None:
    torch.set_num_threads(1)
    run = p.Run(__file__, {})
    real, bank = m.of(m.real()), m.of(m.synthetic())
    digests = {name: digest(found) for name, found in (("real", real), ("bank", bank))}
    known = run.content.get("spectra", {})
    kept = "swap" if known.get("real") == digests["real"] else "nothing"
    if known != digests:
        run.content["cells"] = {key: cell for key, cell in run.content["cells"].items() if key.startswith(kept)}
    counts = {"real": len(real.models), "paper": sum(x.group == "paper" for x in bank.models), "all": len(bank.models)}
    run.content |= {"settings": SETTINGS, "models": counts, "spectra": digests}
    run.content["generators"] = {model.name: model.digest for model in real.models}
    paper = measures.Paper(bank)
    run.cell("yardsticks", lambda: measures.yardsticks(real.curves))
    run.cell("banks", lambda: measures.banks(real.curves, bank))
    run.cell("growth", lambda: measures.growth(real.curves, paper))
    for factor in measures.FACTORS:
        run.cell(f"without {factor}", lambda factor=factor: measures.ablation(real.curves, paper, factor))
    run.cell("without seed", lambda: measures.second_seed(real.curves, paper))
    run.cell("order", lambda: measures.order(real, paper))
    run.cell("groups", lambda: measures.groups(real, bank))
    run.cell("twins", lambda: measures.twins(bank))
    run.cell("silent", lambda: measures.silent(bank))
    run.cell("training", lambda: measures.training(bank))
    for name, names in swap.triples().items():
        run.cell(f"swap {name}", lambda names=names: swap.swapped(names))
    run.save()
    figures.draw(run.content, real, bank)


if __name__ == "__main__":
    main()
