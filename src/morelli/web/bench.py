"""What a worker has open, and its answers. The only part of the server that reads samples."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import torch

from morelli.app.attributing import attribute
from morelli.app.describing import custody, opened
from morelli.app.galleries import Fingerprints, cards, fingerprint, open_gallery
from morelli.app.identifying import Identification, ranked
from morelli.app.pages import report_html
from morelli.attribution.attributor import Attributor
from morelli.attribution.report import RefusedFile, Report
from morelli.errors import MorelliError
from morelli.features.protocol import SampleSpec
from morelli.numerics.calibration import threshold
from morelli.storage import samples as reading
from morelli.storage.pdf import check_pdf, pdf_of
from morelli.storage.samples import SUFFIXES
from morelli.web.pixels import claimed_pixels
from morelli.web.settings import Settings

BINS = 48
FAR = 10_000  # pixels
PICTURES = ["PNG", "JPEG", "WebP", "BMP", "TIFF", "DICOM"]
SOUNDS = ["WAV", "FLAC", "OGG", "MP3"]
File = Sequence[str | None]  # path, name of the upload, why it was refused at the door or ""
Order = Mapping[str, Any]  # `kind`, `files`, and for attributions and pages `attributor`, `together`, `fdr`


class Bench:
    """Attributors and a gallery, read once. Raises UnreadableBundle and the like where one cannot be."""

    def __init__(self, settings: Settings) -> None:
        self._limits, self._device = settings.limits, settings.device
        if self._device == "auto":
            self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._attributors = {path.name: opened(path) for path in settings.attributors}
        self._gallery, self._gallery_name = None, ""
        if settings.gallery is not None:
            named = {"rate": settings.rate, "network": settings.network, "device": self._device}
            self._gallery, self._gallery_name = open_gallery(settings.gallery, **named), settings.gallery.name  # type: ignore[arg-type]
        if self._gallery is not None:  # what is computed once is computed now, not in the first request's time
            self._gallery[0].rank(self._gallery[0].world.strangers[0][0][:1])
        self._cards = {} if settings.gallery is None else cards(settings.gallery)

    def about(self) -> dict[str, Any]:
        """What is open, for clients."""
        attributors = [_described(attributor, about) for attributor, about in self._attributors.values()]
        found = {"attributors": attributors, "gallery": None, "suffixes": list(SUFFIXES), "pdf": _makes_pdf()}
        if self._gallery is None:
            return found
        shown = ("samples", "formats", "sizes", "made", "predicted")
        models = [{"name": name} | {k: card.get(k) for k in shown} for name, card in self._cards.items()]
        about = {"name": self._gallery_name, "rate": self._gallery[0].rate, "models": models}
        return found | {"gallery": about}

    def answer(self, orders: Sequence[Order]) -> list[dict[str, Any]]:
        """One answer for each order. Several orders are of one kind, with the same options, and judged in one go."""
        kind = orders[0]["kind"]
        if kind == "identify":
            return self._identify(orders)
        if kind == "page":
            return [self._page(order) for order in orders]
        if len(orders) == 1 or not self._attributors[orders[0]["attributor"]][0].extractor.spec.is_image:
            return [self._named(self._report(order), order) for order in orders]
        whole = self._report(dict(orders[0]) | {"files": [file for order in orders for file in order["files"]]})
        return [self._named(_part(whole, order), order) for order in orders]

    def _usable(self, order: Order) -> tuple[list[str], tuple[RefusedFile, ...]]:
        """Files to judge, and those refused before anything is decoded."""
        paths: list[str] = []
        refused: list[RefusedFile] = []
        for path, name, reason in order["files"]:
            if path is None:
                refused.append(RefusedFile(str(name), str(reason)))
            elif (pixels := claimed_pixels(Path(path))) > self._limits.max_pixels:
                words = f"claims {pixels} pixels; the limit is {self._limits.max_pixels}. Crop it."
                refused.append(RefusedFile(path, f"{Path(path).name} {words}"))
            else:
                paths.append(path)
        return paths, tuple(refused)

    def _report(self, order: Order) -> Report:
        attributor, about = self._attributors[order["attributor"]]
        paths, refused = self._usable(order)
        if not paths:
            return Report(about, (), refused)
        together, fdr = bool(order.get("together")), order.get("fdr")
        limits = reading_limits(self._limits.max_rows, len(paths), attributor.extractor.spec)
        found = attribute(paths, attributor, together=together, fdr=fdr, device=self._device, limits=limits)
        return replace(found, attributor=about, refused=found.refused + refused)

    def _named(self, report: Report, order: Order) -> dict[str, Any]:
        return dict(finite(self._as_sent(report, order).to_dict()))

    def _as_sent(self, report: Report, order: Order) -> Report:
        """With the uploads' own names throughout, and the command that judges those files again."""
        named = renamed(report, order["files"])
        if report.custody is None:
            return named
        names = [str(name) for _, name, _ in order["files"]]
        return replace(named, custody=custody(names, order["attributor"], report.custody["settings"]))

    def _page(self, order: Order) -> dict[str, Any]:
        """The page is made where the files lie, to show them; then it gets the names, and the id of what is named."""
        report = self._report(order)
        named = self._as_sent(report, order)
        stored = replace(report, custody=named.custody)
        text = report_html(stored, self._attributors[order["attributor"]][0])
        before, after = (each.to_dict()["id"] for each in (stored, named))
        names = [(escape(str(path)), escape(str(name)), "") for path, name, _ in order["files"] if path is not None]
        text = renamed(text.replace(before, after), names)
        content = pdf_of(text, after) if order["form"] == "pdf" else text.encode()
        return {"page": base64.b64encode(content).decode(), "summary": report.counts()}

    def _identify(self, orders: Sequence[Order]) -> list[dict[str, Any]]:
        assert self._gallery is not None
        gallery, extractor = self._gallery
        answers = []
        for order in orders:
            paths, refused = self._usable(order)
            prints = Fingerprints(torch.empty(0, 0), (), (), ())
            if paths:
                prints = fingerprint(paths, extractor, gallery.world, least=0)
            together = bool(order.get("together")) and len(prints.files) > 0
            found = ranked(prints, gallery, extractor.digest, name=self._gallery_name, together=together)
            found = Identification(found.gallery, found.identified, found.refused + refused)
            answers.append(finite(renamed(found.to_dict(), order["files"])))
        return answers


def reading_limits(max_rows: int, files: int, spec: SampleSpec) -> reading.Limits:
    """Of each file of a request that may have so many rows, or windows, in all."""
    rows = max(1, max_rows // files)
    return reading.Limits(max_rows=rows, max_values=min(rows * math.prod(spec.shape), reading.LIMITS.max_values))


def _described(attributor: Attributor, about: Mapping[str, Any]) -> dict[str, Any]:
    spec = attributor.extractor.spec
    scores = {}
    for condition, held_out in attributor.own_scores().items():
        least, most = float(held_out.min()), float(held_out.max())
        most = most if most > least else least + 1
        counts = torch.histc(held_out.double(), BINS, least, most).long().tolist()
        limit = threshold(held_out, attributor.rate)
        scores[condition] = {"least": least, "most": most, "counts": counts, "threshold": limit}
    return finite(dict(about) | {"reads": _reads(spec), "scores": scores})


def _reads(spec: SampleSpec) -> dict[str, Any]:
    kind = "picture" if spec.is_image else "sound" if spec.is_audio else "table"
    formats = PICTURES if spec.is_image else SOUNDS if spec.is_audio else ["CSV", "TSV"]
    larger = spec.is_image and spec.place(*(side + FAR for side in spec.shape[1:])) is not None
    return {"kind": kind, "formats": formats, "shape": list(spec.shape), "larger": larger}


def _makes_pdf() -> bool:
    try:
        check_pdf()
    except MorelliError:
        return False
    return True


def _part(whole: Report, order: Order) -> Report:
    """The share of one order in a report on several; what was refused at the door has no path, and goes by name."""
    paths = {path for path, *_ in order["files"] if path is not None}
    at_door = tuple(RefusedFile(str(name), str(reason)) for path, name, reason in order["files"] if path is None)
    judged = tuple(each for each in whole.judged if each.file in paths)
    refused = tuple(each for each in whole.refused if each.file in paths)
    return replace(whole, judged=judged, refused=refused + at_door)


def renamed(value: Any, files: Sequence[File]) -> Any:
    """The same, with the uploads' own names in place of those they were stored under."""
    pairs = [(str(path), str(name)) for path, name, _ in files if path is not None]
    pairs += [(Path(path).name, name) for path, name in pairs]
    return _renamed(value, pairs)


def _renamed(value: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        for stored, name in pairs:
            value = value.replace(stored, name)
        return value
    if isinstance(value, Mapping):
        return {key: _renamed(each, pairs) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_renamed(each, pairs) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _renamed(getattr(value, each.name), pairs) for each in fields(value)})
    return value


def finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return value
