"""Prints the tables of the README from what run.py and ideas.py have measured."""

import json
from pathlib import Path

HERE = Path(__file__).parent
METHODS = {"latent": "`latent`", "rawpad, deep_sad": "RawPAD", "flipad, lda": "FLIPAD, LDA", "oracle": "oracle"}
NAMES = {"tvae": "TVAE", "ctgan": "CTGAN", "copulagan": "CopulaGAN", "diffusion": "diffusion", "real": "real wine"}
NAMES |= {"sibling": "sibling", "hinge": "other loss"}


def cells(name: str) -> dict:
    path = HERE / f"run-{name}.json"
    return json.loads(path.read_text())["cells"] if path.exists() else {}


def line(texts: list[str]) -> None:
    print("| " + " | ".join(texts) + " |")


def rows(wine: str, form: str, seed: int) -> None:
    known = cells(wine)
    sources = [s for s in NAMES if f"{wine}/{form}/{seed}/latent/{s}" in known]
    if not sources:
        return
    print(f"\n{wine}, {form}, seed {seed}: balanced accuracy (AUROC) of single rows, in percent\n")
    line(["", *(NAMES[s] for s in sources)])
    line(["---"] * (len(sources) + 1))
    for method, shown in METHODS.items():
        found = [known.get(f"{wine}/{form}/{seed}/{method}/{source}") for source in sources]
        if any(found):
            line([shown, *(f"{100 * f['balanced']:.1f} ({100 * f['auroc']:.1f})" if f else "–" for f in found)])
    for size in ("10", "30", "100"):
        for kind, shown in (("balanced", "p-value"), ("e_value", "e-value")):
            found = [known[f"{wine}/{form}/{seed}/latent/{source}"]["sets"][size][kind] for source in sources]
            line([f"`latent`, {size} rows, {shown}", *(f"{100 * f:.1f}" for f in found)])


def ideas() -> None:
    known = cells("ideas")
    names = list(dict.fromkeys("/".join(key.split("/")[:3]) for key in known))
    line(["", *NAMES.values()])
    line(["---"] * (len(NAMES) + 1))
    for name in names:
        texts = []
        for source in NAMES:
            found = known.get(f"{name}/{source}")
            share = isinstance(found, float)
            pair = "–" if found is None or share else f"{100 * found['balanced']:.1f} ({100 * found['auroc']:.1f})"
            texts.append(f"{100 * found:.0f}" if share else pair)
        line([name, *texts])


if __name__ == "__main__":
    for wine in ("red", "white"):
        for seed in (0, 1, 2):
            for form in ("whitened", "decimals"):
                rows(wine, form, seed)
    ideas()
