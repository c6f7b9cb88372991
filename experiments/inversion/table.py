"""The tables of README.md from <target>.json. Run: python experiments/inversion/table.py"""

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

CONDITIONS = ("png", "jpeg:90", "jpeg:80", "noise:0.05", "noise:0.1", "blur:3", "crop:60")
HERE = Path(__file__).parent


def main() -> None:
    for path in sorted(HERE.glob("*.json")):
        if path.stem.startswith("immunised"):
            continue
        run = json.loads(path.read_text())
        for detector in ("LDA", "Mahalanobis", "Deep SAD"):
            print(f"\n**{path.stem}, {detector}**\n")
            print("| inversion | pool | source |", " | ".join(CONDITIONS), "|")
            print("|---|---|---|" + "---|" * len(CONDITIONS))
            for (feature, pool, source), cells in grouped(run["rows"], detector).items():
                shown = [cell(cells[condition]) for condition in CONDITIONS]
                print(f"| {feature} | {pool} | {source} |", " | ".join(shown), "|")
        print("\n", run["costs"])


def grouped(rows: list[dict], detector: str) -> dict:
    """(feature, pool, source) → condition → (balanced accuracy at the clean threshold, AUROC) of every seed."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for source in ("sibling", "foreign"):
            if row["detector"] != detector or f"{source} AUROC" not in row:
                continue
            feature = row["feature"] + ("" if row["training"] == "clean" else ", immunised")
            values = row[f"{source} clean"], row[f"{source} AUROC"]
            found[feature, row["pool"], source][row["condition"]].append(values)
    return found


def cell(values: list[tuple[float, float]]) -> str:
    if not values:
        return "–"
    accuracies = [100 * accuracy for accuracy, _ in values]
    spread = f" ± {stdev(accuracies):.0f}" if len(values) > 1 and stdev(accuracies) >= 0.5 else ""
    return f"{mean(accuracies):.0f}{spread} ({100 * mean(auroc for _, auroc in values):.0f})"


if __name__ == "__main__":
    main()
