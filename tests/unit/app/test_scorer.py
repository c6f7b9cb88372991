"""The scorer's rows depend on the sample alone: not on its batch, the threads, or where its bytes lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import imprinting_samples

import morelli
from morelli.app.scorer import Scorer
from morelli.storage.parts import encode
from morelli.storage.shards import Item, items

BUNDLE = Path(__file__).parents[2] / "artefacts" / "images-1.attributor"
SPEC = morelli.SampleSpec((3, 32, 32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 own and 12 foreign images, one that is torn, one of another size, and no image."""
    place = tmp_path_factory.mktemp("images")
    for kind in (0, 1):
        for i, sample in enumerate(imprinting_samples(12, 7, generator_seed=kind)):
            morelli.write_image(sample, place / f"{i:02d}-{kind}.png", SPEC)
    (place / "10-torn.png").write_bytes((place / "10-0.png").read_bytes()[:90])
    morelli.write_image(torch.zeros(3, 8, 8), place / "11-small.png", morelli.SampleSpec((3, 8, 8)))
    (place / "12-no.txt").write_text("no image")
    return place


def test_rows_are_those_of_a_report(folder: Path) -> None:
    report = morelli.attribute(folder, BUNDLE)
    rows = [row for found in Scorer(BUNDLE)(items(sorted(folder.iterdir()))) for row in found]
    judged = [row for row in rows if row["outcome"] != "refused"]
    assert judged == [each.to_dict() for each in report.judged]
    assert [(row["file"], row["reason"]) for row in rows if row["outcome"] == "refused"] == [
        (each.file, each.reason) for each in report.refused
    ]
    assert report.counts()["attributed"] >= 9
    assert report.counts()["not attributed"] >= 9
    assert (len(report.refused), report.counts()["inconclusive"]) == (2, 1)


def test_batches_and_threads_do_not_show(folder: Path) -> None:
    """To the byte. Without filling up the products of `scores_by_orientation` batches of 1 differed by up to 2e-5."""
    found = list(items(sorted(folder.iterdir())))
    whole = encode(row for rows in Scorer(BUNDLE).stream(found) for row in rows)
    for batch, threads, prefetch in ((1, 1, True), (7, 1, False), (64, 2, True)):
        torch.set_num_threads(threads)
        try:
            scorer = Scorer(BUNDLE, batch=batch, prefetch=prefetch)
            assert encode(row for rows in scorer.stream(found) for row in rows) == whole, (batch, threads, prefetch)
        finally:
            torch.set_num_threads(1)


def test_bytes_are_judged_as_their_file_is(folder: Path) -> None:
    path = folder / "00-0.png"
    scorer = Scorer(BUNDLE)
    assert scorer([Item("cat.png", data=path.read_bytes())])[0] == [
        scorer([Item(str(path))])[0][0] | {"file": "cat.png"}
    ]


def test_not_more_than_three_batches_are_read_ahead(folder: Path) -> None:
    taken = []

    def listed() -> object:
        for item in items(sorted(folder.iterdir())):
            taken.append(item)
            yield item

    stream = Scorer(BUNDLE, batch=4).stream(listed())
    next(stream)
    assert len(taken) <= 12
    stream.close()
