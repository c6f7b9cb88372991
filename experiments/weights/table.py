"""Write the tables of README.md from run.json. Run: python experiments/weights/table.py"""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
TITLES = {
    "synthetic": "Synthetic generators that the network never saw",
    "real": "Other GANs, VAEs and tiny autoencoders",
    "world": "Synthetic generators of the network's world",
    "seeds": "Five seeds of each of four GANs",
}
SHIPS = "fitted and white noise"


def ranks(title: str, rows: dict) -> list[str]:
    lines = [f"**{title}**: median rank of the true model and recall, %, in the whole gallery", ""]
    lines += ["| enrolled from, asked with | median (90 % over models) | @1 | @5 | @10 |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        low, high = row.get("median interval", ("", ""))
        interval = f" ({low:g}–{high:g})" if low != "" else ""
        cells = [f"{100 * row[f'recall@{k}']:.1f}" + spread(row.get(f"recall@{k} draws")) for k in (1, 5, 10)]
        lines.append(f"| {bold(name)} | {row['median']:g}{interval} | {' | '.join(cells)} |")
    return [*lines, ""]


def spread(draws: list[float] | None) -> str:
    return "" if draws is None else f" ±{50 * (max(draws) - min(draws)):.1f}"


def bold(name: str) -> str:
    return f"**{name}**" if name.startswith(SHIPS) and "corrected" not in name else name


def main() -> None:
    found = json.loads((HERE / "run.json").read_text())
    lines = [line for group, rows in found["ranks"].items() for line in ranks(TITLES[group], rows)]
    siblings, variance = found["siblings"], found["variance"]
    lines += ["**Siblings**: the right one first among models of one architecture, one image asked, %", ""]
    lines += [
        "| enrolled from | synthetic | seeds of GANs |",
        "|---|---|---|",
        *(
            f"| {bold(name)} | {100 * siblings['synthetic'][name]:.1f} | {100 * siblings['seeds'][name]:.1f} |"
            for name in siblings["synthetic"]
            if name != "families"
        ),
        "",
        "**Variance** of models' mean fingerprints, in units of what varies between images of one model, and how well",
        "differences between siblings are predicted (cosine)",
        "",
        "| | synthetic | seeds of GANs |",
        "|---|---|---|",
        *(
            f"| {key} | {variance['synthetic'][key]} | {variance['seeds'][key]} |"
            for key in ("between families", "within")
        ),
    ]
    agree = "agreement of differences between siblings (cosine)"
    lines += [
        f"| predicted by {name} | {variance['synthetic'][agree][name]} | {variance['seeds'][agree][name]} |"
        for name in variance["seeds"][agree]
    ]
    chosen = ["10 images", "1 image", "noise, white", "fitted", SHIPS]
    lines += ["", "**Real models one by one**: median rank of one image", "", "| | " + " | ".join(chosen) + " |"]
    lines += ["|---" * (len(chosen) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(f"{row[key]:g}" for key in chosen) + " |" for name, row in found["by model"].items()
    ]
    readme = HERE / "README.md"
    text = re.sub(
        r"<!-- tables -->.*<!-- end -->",
        lambda _: "<!-- tables -->\n" + "\n".join(lines) + "\n<!-- end -->",
        readme.read_text(),
        flags=re.S,
    )
    readme.write_text(text)


if __name__ == "__main__":
    main()
