"""Pictures and tables of this experiment."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import models as m
import torch
from matplotlib import pyplot as plt
from PIL import Image
from publish import END, START, table
from torch import Tensor

HERE = Path(__file__).parent
SHOWN = (
    ("clothing-dcgan", "clothing-wgan-gp", "clothing-lsgan", "clothing-ebgan"),
    ("faces-dcgan", "celeba64_vae", "taesd", "taesdxl"),
    ("k1-l1-nearest-relu-batch-after", "k2-l1-nearest-relu-batch-after", "k1-l1-bilinear-relu-batch-after",
     "k1-l1-transposed-relu-batch-after"),
    ("k2-l2-transposed-tanh-instance-before", "k1-l1-transposed4-relu-batch-after", "k2-l1-shuffle-relu-batch-after",
     "k3-l1-patch-silu-none-before"),
)  # fmt: skip
COLOURS = {
    "dcgan of clothes": "C0",
    "wgan-gp of clothes": "C9",
    "lsgan of clothes": "C1",
    "ebgan of clothes": "C2",
    "GANs of faces": "C3",
    "VAEs of faces": "C4",
    "latent decoders": "k",
}
FACTORS = ("U", "A", "N", "K", "L", "S", "seed")
KINDS = ("from the other", "a stranger's")  # last blocks


def draw(content: dict, real: m.Spectra, bank: m.Spectra) -> None:
    pages = {"planes": planes(real, bank), "curves": curves(real, bank)}
    pages |= {"distance": distance(content["cells"]), "swap": swap(content["cells"])}
    for name, figure in pages.items():
        path = HERE / f"{name}.png"
        figure.savefig(path, dpi=100)
        plt.close(figure)
        Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)
    page = HERE / "README.md"
    if page.exists():
        before, _, rest = page.read_text().partition(START)
        page.write_text(f"{before}{START}\n\n{written(content)}\n\n{END}{rest.partition(END)[2]}")


def whole(plane: Tensor) -> Tensor:
    """[64, 33] → [64, 64], the other half mirrored, the mean frequency in the middle."""
    left = plane.flip(0, 1).roll(1, 0)[:, :-1]  # column −32 … −1, rows negated
    return torch.cat([left, plane[:, :-1]], 1)


def planes(real: m.Spectra, bank: m.Spectra) -> plt.Figure:
    """Figure 2: one colour scale for all, from the quietest to the loudest percentile."""
    known = {model.name: plane for model, plane in zip(real.models, real.planes, strict=True)}
    known |= {model.name.removesuffix("#0"): plane for model, plane in zip(bank.models, bank.planes, strict=True)}
    chosen = torch.stack([known[name] for names in SHOWN for name in names if name in known])
    low, high = chosen.quantile(0.01).item(), chosen.quantile(0.99).item()
    figure, axes = plt.subplots(4, 4, figsize=(9.6, 10.4), layout="constrained")
    for i, (names, row) in enumerate(zip(SHOWN, axes, strict=True)):
        for axis, name in zip(row, names, strict=True):
            axis.set(xticks=[], yticks=[])
            if name in known:
                image = axis.imshow(whole(known[name]), cmap="viridis", vmin=low, vmax=high)
            words = name.split("-")
            title = name if len(name) < 20 else "-".join(words[:3]) + "-\n" + "-".join(words[3:])
            axis.set_title(title, fontsize=8)
        row[0].set_ylabel("real" if i < 2 else "synthetic", fontsize=11)
    figure.colorbar(image, ax=axes, fraction=0.02, label="mean log power of the residual")
    return figure


def curves(real: m.Spectra, bank: m.Spectra) -> plt.Figure:
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained", sharey=True)
    x = torch.arange(real.curves.shape[1])
    for group in dict.fromkeys(model.group for model in real.models):
        for i, curve in enumerate(real.where(lambda one, group=group: one.group == group)):
            axes[0].plot(x, curve, color=COLOURS[group], lw=1, label="" if i else group)
    for axis, title, paper in ((axes[1], "synthetic, the paper's", True), (axes[2], "synthetic, beyond", False)):
        for curve in bank.where(lambda one, paper=paper: (one.group == "paper") == paper):
            axis.plot(x, curve, color="C0" if paper else "C1", lw=0.5, alpha=0.25)
        mean, spread = real.curves.mean(0), real.curves.std(0)
        axis.plot(x, mean, color="k", lw=1.5, label="mean of the real ones")
        axis.fill_between(x, mean - spread, mean + spread, color="k", alpha=0.12, label="± their spread")
        axis.set_title(title)
        axis.legend(fontsize=8, loc="lower left")
    untouched = m.spectra(m.photographs())[0].mean(0)
    axes[0].plot(x, untouched, color="0.5", ls="--", label="photographs, untouched")
    axes[0].set(title="real", ylabel="mean log power of the residual")
    axes[0].legend(fontsize=7, loc="lower left")
    for axis in axes:
        axis.set_xlabel("frequency, cycles per 64 pixels")
        axis.grid(alpha=0.3)
    return figure


def distance(cells: dict) -> plt.Figure:
    """The bank as it grows, factors held, and families added."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    for seeds, colour in ((1, "C0"), (2, "C1")):
        found = {int(k.split()[0]): v["ffd"] for k, v in cells["growth"].items() if f", {seeds} seed" in k}
        middle, low, high = zip(*found.values(), strict=True)
        axes[0].fill_between(list(found), low, high, color=colour, alpha=0.2)
        axes[0].plot(list(found), middle, "o-", color=colour, label=f"{seeds} seed{'s' * (seeds > 1)} of each")
    axes[0].set(xscale="log", xlabel="blueprints of the paper, drawn at random", ylabel="FFD to the real models")
    axes[0].set_xticks(list(found), [str(n) for n in found])
    axes[0].minorticks_off()
    axes[0].legend(fontsize=8)
    base = cells["banks"]["paper"]["ffd"]
    for i, factor in enumerate(FACTORS):
        cell = cells[f"without {factor}"]
        middle, low, high = cell["random parts"]["ffd"]
        axes[1].plot(
            [i, i], [low, high], color="0.8", lw=9, solid_capstyle="butt", label="" if i else "random parts, 90 %"
        )
        axes[1].plot(i, cell["mean"]["ffd"], "D", color="C3", label="" if i else "mean over the factor's values")
        axes[1].plot([i] * len(cell["values"]), [v["ffd"] for v in cell["values"].values()], "_k", ms=9,
                     label="" if i else "held at one value")  # fmt: skip
    axes[1].axhline(base, color="0.5", ls="--", lw=1, label="the whole bank")
    axes[1].set_xticks(range(len(FACTORS)), [f"without {f}" for f in FACTORS], rotation=35, ha="right")
    axes[1].set(ylabel="FFD to the real models", ylim=(0, None))
    axes[1].legend(fontsize=8)
    names = list(cells["banks"])
    for i, name in enumerate(names):
        axes[2].plot(cells["banks"][name]["interval"], [-i, -i], color="C0", lw=2, label="" if i else "bootstrap, 90 %")
        axes[2].plot(cells["banks"][name]["ffd"], -i, "o", color="C3", label="" if i else "FFD")
    axes[2].set_yticks([-i for i in range(len(names))], names, fontsize=8)
    axes[2].set(xlabel="FFD to the real models", xlim=(0, None))
    figure.legend(*axes[2].get_legend_handles_labels(), fontsize=8, loc="outside lower right", ncols=2)
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure


def swap(cells: dict) -> plt.Figure:
    """Each pair both ways: flips by how many last blocks are the other's, and where a stranger gave them."""
    found = {key.removeprefix("swap "): cell for key, cell in cells.items() if key.startswith("swap")}
    figure, axes = plt.subplots(2, 5, figsize=(14, 5.6), layout="constrained", sharey=True)
    for axis in axes.flat[len(found) :]:
        axis.set_visible(False)
    for axis, (name, cell) in zip(axes.flat, found.items(), strict=False):
        for kind, style in (("from the other", "o-"), ("a stranger's", "x:")):
            counts = [int(n) for n in cell[kind]]
            for way in (0, 1) if counts else ():
                shares = [100 * pair[way] for pair in cell[kind].values()]
                axis.plot(counts, shares, style, color=f"C{way}", label=f"{'AB'[way]}, last blocks {kind}")
        axis.set(title=f"{name} (clean: {100 * cell['clean accuracy']:.0f} %)", ylim=(-5, 105), xticks=range(1, 5))
        axis.title.set_fontsize(9)
        axis.axhline(50, color="0.7", lw=0.8)
    for axis in axes[1]:
        axis.set_xlabel("last blocks exchanged")
    for axis in axes[:, 0]:
        axis.set_ylabel("decisions that flip, %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=4)
    return figure


def written(content: dict) -> str:
    """The tables of the page."""
    cells = content["cells"]
    titles = {
        "**Distance, spread and nearness** (FFD: in brackets 90 % of its bootstrap)": of_banks,
        "**As the bank grows** (in brackets 90 % of random subsets)": of_growth,
        "**Ablations** of the paper's bank (in brackets 90 % of random parts of these sizes; of the rise, 90 % of "
        "bootstraps)": of_ablations,
        "**Real models by group**; the middle one's nearest synthetic generator": of_groups,
        "**Last blocks exchanged**: decisions that flip, %, for A and for B, with last blocks from the other; in "
        "brackets, with those of a stranger": of_swaps,
    }
    return "\n\n".join(f"{title}\n\n{make(cells)}" for title, make in titles.items())


def of_banks(cells: dict) -> str:
    return table(
        ["bank", "models", "FFD", "of it means", "spread", "covered, %", "nearest"],
        [
            [
                name,
                str(c["models"]),
                span([c["ffd"], *c["interval"]]),
                f"{c['means']:.1f}",
                f"{c['spread']:.1f}",
                f"{100 * c['coverage']:.0f}",
                f"{c['nearest']:.2f}",
            ]
            for name, c in cells["banks"].items()
        ],
    )


def of_growth(cells: dict) -> str:
    return table(
        ["bank", "FFD", "spread", "covered, %", "nearest"],
        [
            [
                name,
                span(c["ffd"]),
                span(c["spread"]),
                span(c["coverage"], 100),
                span(c["nearest"], digits=2),
            ]
            for name, c in cells["growth"].items()
        ],
    )


def of_ablations(cells: dict) -> str:
    lines = []
    for factor in FACTORS:
        cell = cells[f"without {factor}"]
        average, random = cell["mean"], cell["random parts"]
        lines.append(
            [
                factor,
                f"{average['ffd']:.1f} {bounds(random['ffd'])}",
                ", ".join(f"{name} {value['ffd']:.1f}" for name, value in cell["values"].items()),
                span(cells["order"]["change"][factor]),
                f"{average['spread']:.1f} {bounds(random['spread'])}",
                f"{100 * average['coverage']:.0f} {bounds(random['coverage'], 100, 0)}",
                f"{average['nearest']:.2f} {bounds(random['nearest'], digits=2)}",
            ]
        )
    return table(["without", "FFD", "held at", "rise of FFD", "spread", "covered, %", "nearest"], lines)


def of_groups(cells: dict) -> str:
    lines = []
    for group, c in cells["groups"].items():
        near = [f"{c[bank]['nearest, rms']:.2f}: {c[bank]['which']}" for bank in ("paper", "paper + beyond")]
        lines.append([group, str(c["models"]), *near])
    return table(["real models", "number", "in the paper's bank", "with beyond"], lines)


def of_swaps(cells: dict) -> str:
    found = {key.removeprefix("swap "): cell for key, cell in cells.items() if key.startswith("swap")}
    lines = [[n, f"{100 * c['clean accuracy']:.1f}", *(ways(c, k) for k in "1234")] for n, c in found.items()]
    for kind in KINDS:
        shares = [cell[kind] for cell in found.values()]
        lines.append([f"mean of both ways, {kind} (range)", "", *(over(shares, k) for k in "1234")])
    return table(["A / B", "clean accuracy, %", *(f"last {k}" for k in "1234")], lines)


def span(values: list[float], scale: float = 1, digits: int = 1) -> str:
    digits = 0 if scale > 1 else digits
    return f"{scale * values[0]:.{digits}f} {bounds(values, scale, digits)}"


def bounds(values: list[float], scale: float = 1, digits: int = 1) -> str:
    return f"[{scale * values[1]:.{digits}f}, {scale * values[2]:.{digits}f}]"


def ways(cell: dict, count: str) -> str:
    other, stranger = (", ".join(f"{100 * x:.0f}" for x in cell[kind].get(count, ())) for kind in KINDS)
    return (other or "–") + (f" ({stranger})" if stranger else "")


def over(shares: list[dict[str, list[float]]], count: str) -> str:
    """Mean of both ways over pairs, and the least and most of the pairs."""
    found = [50 * sum(one[count]) for one in shares if count in one]
    return f"{sum(found) / len(found):.0f} ({min(found):.0f}–{max(found):.0f})" if found else "–"
