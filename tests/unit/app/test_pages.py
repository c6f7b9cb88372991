"""Reports as pages, PDF and JSON: every kind fits the schema, says what it must, and is the same on every run."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from PIL import Image, PngImagePlugin
from toys import imprinting_generator, imprinting_samples, toy_heads, toy_samples

import morelli
from morelli import Attributor, Report, SampleSpec, attribute, calibrate, report_html, report_schema, write_report
from morelli.app import looking
from morelli.app.attack_card import read_attack_card
from morelli.app.pages import SECTIONS, stamped, with_attack_card
from morelli.attribution.places import shares_of
from morelli.cli.render import verdicts
from morelli.errors import MorelliError, OutOfRange, UnreadableBundle
from morelli.numerics.calibration import relative, threshold
from morelli.storage import samples

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
SPEC = SampleSpec((3, 16, 16))
VALIDATOR = jsonschema.Draft202012Validator(report_schema())


def written(samples: torch.Tensor, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, sample in enumerate(samples):
        morelli.write_image(sample, folder / f"{i:02d}.png", SampleSpec(tuple(sample.shape)))
    return folder


def fits(report: Report) -> dict[str, Any]:
    """The report as JSON gives it back, once it is valid."""
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    VALIDATOR.validate(told)
    return told


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plain and declared attributors with maps, samples of the model, others, JPEG files, and what is no sample."""
    root = tmp_path_factory.mktemp("reports")
    head = imprinting_generator(0, 16).head(100)
    own = written(imprinting_samples(120, 1, side=16), root / "own")
    morelli.train(head, own, rate=0.05, held_out=40, out=root / "plain.attributor")
    for k in (1, 2, 3):
        written(imprinting_samples(10, 2, k, 16), root / "others" / f"gan-{k}")
    calibrate(root / "plain.attributor", root / "others", out=root / "declared.attributor", leave_source_out=True)
    written(imprinting_samples(4, 7, side=16), root / "mine")
    written(imprinting_samples(4, 7, 1, 16), root / "theirs")
    (root / "jpeg").mkdir()
    for i in range(4):
        Image.open(root / "theirs" / f"{i:02d}.png").save(root / "jpeg" / f"{i}.jpg", quality=75)
    (root / "odd").mkdir()
    (root / "odd" / "note.txt").write_text("not a picture")
    shutil.copy(root / "mine" / "00.png", root / "odd" / "a.png")
    return root


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def test_the_schema_is_one_and_can_fail(inside: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())
    told = fits(attribute("mine/00.png", "declared.attributor"))
    for change in ({"schema": 2}, {"verdicts": [{}]}, {"surprise": 1}, {"id": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(told | change)
    told["verdicts"][0]["outcome"] = "inconclusive"  # without a reason, with a ratio
    assert not VALIDATOR.is_valid(told)


@pytest.mark.parametrize("bundle", ["plain.attributor", "declared.attributor"])
def test_reports_on_pictures_fit_the_schema(inside: Path, bundle: str) -> None:
    report = attribute(["mine", "theirs", "jpeg", "odd"], bundle, together=True, fdr=0.3)
    told = fits(report)
    assert told["summary"]["refused"] == 1
    assert told["together"] and told["queue"]
    assert told["custody"]["settings"] == {"certify": 0, "together": True, "fdr": 0.3, "device": "cpu"}
    assert told["custody"]["command"].startswith("morelli attribute mine theirs jpeg odd --with")
    assert (told["attributor"]["population"] is None) == (bundle == "plain.attributor")
    page = report_html(report, bundle)
    assert "Together, 12 samples are" in page  # one file lies there twice
    assert ("How good the likelihood ratios are" in page) == (bundle == "declared.attributor")


def test_inconclusive_tables_and_sound_fit_too(tmp_path: Path) -> None:
    heads = toy_heads()
    sound = morelli.train(
        heads["audio"], toy_samples("audio", 80, 1), toy_samples("audio", 40, 2), method="flipad", detector="lda",
        rate=0.05,
    )  # fmt: skip
    lines = [",".join(map(str, row)) for row in toy_samples("table", 30, 3).tolist()]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    rows = attribute(tmp_path / "rows.csv", ARTEFACTS / "table-1.attributor", together=True, fdr=0.2)
    assert [v["row"] for v in fits(rows)["verdicts"]] == list(range(30))
    page = report_html(rows, ARTEFACTS / "table-1.attributor")
    assert f"{30 - SECTIONS} more have no section of their own" in page
    assert "<img" not in page
    pytest.importorskip("soundfile")
    import soundfile

    soundfile.write(tmp_path / "clip.wav", toy_samples("audio", 1, 4)[0, 0].numpy(), 16_000, subtype="PCM_16")
    soundfile.write(tmp_path / "short.wav", torch.zeros(9).numpy(), 16_000, subtype="PCM_16")
    heard = attribute([tmp_path / "clip.wav", tmp_path / "short.wav"], sound)
    told = fits(heard)
    assert told["summary"]["inconclusive"] == 1
    assert told["custody"]["command"] is None  # the attributor lies in memory
    assert "Where it deviates" not in report_html(heard, sound)


def test_a_page_on_one_picture_holds_every_point(inside: Path) -> None:
    report = attribute("theirs/01.png", "declared.attributor")
    told, page = fits(report), report_html(report, "declared.attributor")
    for title in (
        *("What was asked", "The answer", "The score among own samples", "Where it deviates", "The file"),
        *("How often it errs", "How good the likelihood ratios are", "Deliberate removal and imitation", "Custody"),
        "What this does not prove",
    ):
        assert f">{title}</h2>" in page
    facts = told["verdicts"][0]["facts"]
    pixels = Image.open("theirs/01.png").convert("RGB").tobytes()
    assert facts["decoded_sha256"] == sha256(pixels).hexdigest()
    for said in (facts["sha256"], facts["decoded_sha256"], told["attributor"]["digest"], told["id"], "docs/attacks.md"):
        assert said in page
    assert page.count("<svg") == 2
    assert page.count('<div class="scale">') == 3
    assert "http" not in page


def test_a_file_that_changed_is_not_shown(inside: Path, tmp_path: Path) -> None:
    shutil.copy("theirs/01.png", tmp_path / "x.png")
    report = attribute(tmp_path / "x.png", "declared.attributor")
    shutil.copy("theirs/02.png", tmp_path / "x.png")
    page = report_html(report, "declared.attributor")
    assert "no longer the one that was judged" in page
    assert "<img" not in page


def test_storage_that_might_explain_a_verdict_is_pointed_out(inside: Path) -> None:
    head = imprinting_generator(0, 16).head(100)
    plain = morelli.train(head, "own", "theirs", method="flipad", detector="lda", rate=0.05)
    assert plain.card["own"]["facts"]["coding"] == {"none": 120}
    told = fits(attribute(["jpeg", "mine"], plain))
    warned = {v["file"]: [c["text"] for c in v["confounds"] if c["explains"]] for v in told["verdicts"]}
    for verdict in told["verdicts"]:
        expected = verdict["facts"]["coding"] != "none" and verdict["outcome"] == "not attributed"
        assert bool(warned[verdict["file"]]) == expected
    assert any("JPEG; own samples are stored without loss" in text for texts in warned.values() for text in texts)
    assert plain.places is not None
    assert "Average activation" in report_html(attribute("jpeg/0.jpg", plain), plain)
    assert "coding alone tells them apart" in told["confounds"][0]["text"]


def test_attack_cards(inside: Path, tmp_path: Path) -> None:
    report = attribute("mine/00.png", "declared.attributor")
    row = {"name": "denoising", "aim": "removal", "psnr": 35, "success": 0.25, "low": 0.2, "high": 0.3, "samples": 200}
    other = {"name": "averaging", "aim": "forgery", "success": None}
    (tmp_path / "card.json").write_text(json.dumps({"title": "Ours", "attacks": [row, other]}))
    carded = with_attack_card(report, read_attack_card(tmp_path / "card.json"), "-card.json")
    told = fits(carded)
    assert told["custody"]["command"].endswith(" --json --device cpu --attack-card ./-card.json")
    assert told["attack_card"]["attacks"][0]["success"] == 0.25
    assert told["id"] != fits(report)["id"]
    page = report_html(carded, "declared.attributor")
    assert "25.0\u00a0% (20.0\u00a0% to 30.0\u00a0%)" in page and "docs/attacks.md" not in page
    some = {"name": "a", "aim": "b", "success": 0.5}
    odd = [some | {"success": 7}, {"name": "a"}, some | {"samples": "1_0"}, some | {"samples": math.inf}]
    odd += [some | {"success": 10**400}, some | {"psnr": True}]
    for bad in ("[]", "no json", "[" * 100_000, *(json.dumps({"attacks": [each]}) for each in odd)):
        (tmp_path / "bad.json").write_text(bad)
        with pytest.raises(UnreadableBundle, match="is no attack card"):
            read_attack_card(tmp_path / "bad.json")


def test_what_a_file_says_of_its_origin_is_shown_beside(inside: Path) -> None:
    report = attribute("mine/00.png", "declared.attributor")
    facts = {name: value for name, value in report.judged[0].facts.items() if name != "provenance"}  # as of DICOM
    report = replace(report, judged=(replace(report.judged[0], facts=facts),))
    assert "What the file says of its origin" not in report_html(report, "declared.attributor")
    credentials = {
        "state": "untrusted",
        "claim_generator": "Maker <1>",
        "signer": None,
        "time": None,
        "actions": ["c2pa.created"],
        "ai_generated": True,
    }
    entry = {"where": "PNG text", "name": "parameters", "value": "steps: 20", "tool": "some software"}
    for c2pa, metadata, tools in ((credentials, [entry], ["some software"]), (None, [], [])):
        told = {"c2pa": c2pa, "metadata": metadata, "tools": tools}
        judged = replace(report.judged[0], facts={**report.judged[0].facts, "provenance": told})
        known = replace(report, judged=(judged,))
        fits(known)
        page = report_html(known, "declared.attributor")
        assert ("untrusted" in page and "Maker &lt;1&gt;: c2pa.created; says it is generated" in page) == bool(c2pa)
        assert ("steps: 20" in page) == bool(metadata)
        assert ("none found (C2PA)" in page and "none named" in page) == (c2pa is None)


@pytest.mark.parametrize("note", ["C2PA not looked for, though it may be there", "names a C2PA manifest that lies far"])
def test_a_manifest_that_was_not_read_is_not_none(inside: Path, note: str) -> None:
    report = attribute("mine/00.png", "declared.attributor")
    told = replace(report.judged[0], facts={**report.judged[0].facts, "notes": [note]})
    page = report_html(replace(report, judged=(told,)), "declared.attributor")
    assert f"<td>{note}</td>" in page and "none found (C2PA)" not in page


def test_names_of_files_and_dates_cannot_break_out(inside: Path, tmp_path: Path) -> None:
    name = "a<script>alert(1)<br>.png"
    shutil.copy("mine/00.png", tmp_path / name)
    report = replace(attribute(tmp_path / name, "declared.attributor"), dated='1"}</style><script>')
    page = report_html(report, "declared.attributor")
    assert "<script" not in page
    assert page.count("</style>") == 1
    page = report_html(replace(report, dated="R&D's <day>"), "declared.attributor")
    assert '@top-right { content: "RDs day"' in page
    assert "R&amp;D&#39;s &lt;day&gt;</p>" in page


def test_dates_are_only_what_was_asked_for(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = attribute("mine/00.png", "declared.attributor")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert stamped(report).dated is None
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert fits(stamped(report))["dated"] == "1970-01-02T00:00:00+00:00"
    assert "1970-01-02" in report_html(stamped(report), "declared.attributor")
    assert stamped(report, "today").dated == "today"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(OutOfRange, match="'soon'"):
        stamped(report)


def test_other_suffixes_and_a_missing_library_are_named(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = attribute("mine/00.png", "declared.attributor")
    with pytest.raises(OutOfRange, match=r"\.html, \.pdf or \.json"):
        write_report(report, "declared.attributor", tmp_path / "r.docx")
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(MorelliError, match=r"pip install 'morelli\[pdf\]', on Debian also apt install libpango"):
        write_report(report, "declared.attributor", tmp_path / "r.pdf")
    assert not list(tmp_path.iterdir())


MAKE = """
import sys, torch
from morelli.app import attributing
from test_pages import made
torch.set_num_threads(2)
attributing.BATCH = 3
made(sys.argv[1], sys.argv[2].split(","))
"""


def made(folder: str, kinds: list[str]) -> None:
    """Of one sample in every kind, of many in the first two."""
    for name, files, wanted in (("one", ["theirs/01.png"], kinds), ("many", ["mine"], kinds[:2])):
        report = attribute(files, "declared.attributor", fdr=0.2)
        for kind in wanted:
            write_report(report, "declared.attributor", f"{folder}/{name}.{kind}")


def test_the_same_bytes_on_every_run(inside: Path, tmp_path: Path) -> None:
    """Here, and in another process with another hash seed, other batches and threads."""
    kinds = ["html", "json", "pdf"]
    made(str(tmp_path / "a"), kinds)
    paths = f"{Path(morelli.__file__).parents[1]}:{Path(__file__).parent}:{Path(__file__).parents[2]}"
    words = [sys.executable, "-c", MAKE, str(tmp_path / "b"), ",".join(kinds)]
    environment = os.environ | {"PYTHONHASHSEED": "2", "PYTHONPATH": paths, "OMP_WAIT_POLICY": "passive"}
    subprocess.run(words, check=True, env=environment, timeout=300)
    first, second = ({p.name: p.read_bytes() for p in sorted((tmp_path / k).iterdir())} for k in "ab")
    assert len(first) == 5
    assert first == second
    assert first["one.html"] != first["many.html"]


def test_maps_are_of_held_out_samples(place: Path) -> None:
    attributor = morelli.load(place / "plain.attributor")
    assert isinstance(attributor, Attributor) and attributor.places is not None
    places = attributor.places
    assert places.average.shape == (1, 16, 16)
    with_none = replace(attributor, places=None)
    assert "places" not in with_none.state().parts
    again = Attributor.from_state(attributor.state()).places
    assert again is not None and torch.equal(again.mean[""], places.mean[""])
    fresh = imprinting_samples(200, 9, side=16)
    values = attributor.extractor.extract(fresh).values
    shares = shares_of(attributor.extractor, attributor.detector, values)
    assert shares is not None
    told = (values * attributor.detector.discriminant.direction)[:, : -attributor.detector.width]
    assert torch.allclose(shares.sum((1, 2, 3)), told.sum(1), atol=1e-3), "every map counts"
    deviation = places.deviation(shares, "")
    assert deviation.shape == (200, 16, 16)
    assert abs(float(deviation.mean())) < 0.3  # of fresh own samples: none on average
    above = [
        deviation.flatten(1).amax(1) > places.usual[""]["largest"],
        deviation.mean((1, 2)) > places.usual[""]["mean"],
    ]
    assert all(float(each.double().mean()) < 0.25 for each in above)  # 5 % promised of many, from 40 held out
    strange = attributor.extractor.extract(imprinting_samples(50, 9, 1, 16)).values
    foreign = shares_of(attributor.extractor, attributor.detector, strange)
    assert foreign is not None
    assert float((places.deviation(foreign, "").mean((1, 2)) > places.usual[""]["mean"]).double().mean()) > 0.5


def test_refused_files_are_named_beside_a_single_sample(inside: Path) -> None:
    report = attribute("odd", "declared.attributor")
    assert len(report.judged) == len(report.refused) == 1
    page = report_html(report, "declared.attributor")
    assert "<h3>Refused files</h3>" in page and "odd/note.txt: " in page


def test_the_same_pixels_in_other_files_are_one_sample(inside: Path, tmp_path: Path) -> None:
    for i in range(4):
        told = PngImagePlugin.PngInfo()
        told.add_text("Comment", str(i))
        Image.open("mine/00.png").save(tmp_path / f"{i}.png", pnginfo=told)
    report = attribute(tmp_path, "declared.attributor", together=True, fdr=0.3)
    assert len({judged.facts["sha256"] for judged in report.judged}) == 4
    assert report.together is not None and report.queue is not None
    assert report.together["samples"] == report.queue["samples"] == 1
    assert "together: 1 sample is " in verdicts(report.to_dict())


def test_the_terminal_warns_of_what_the_page_warns_of(inside: Path) -> None:
    head = imprinting_generator(0, 16).head(100)
    plain = morelli.train(head, "own", "theirs", method="flipad", detector="lda", rate=0.05)
    plain = replace(plain, card=plain.card | {"warnings": ["few samples"]})
    told = attribute(["jpeg", "mine"], plain).to_dict()
    explained = [verdict for verdict in told["verdicts"] if any(each["explains"] for each in verdict["confounds"])]
    shown = verdicts(told).splitlines()
    assert "warning: few samples" in shown
    assert f"warning: {told['confounds'][0]['text']}" in shown
    assert sum(line.startswith("warning: jpeg/") for line in shown) == len(explained) > 0
    many = [explained[0] | {"file": f"{i}.jpg"} for i in range(300)]
    shown = verdicts(told | {"verdicts": many, "confounds": []}).splitlines()
    assert sum(line.startswith("warning: ") for line in shown) == 200
    assert "… and 101 more; use --json to see all." in shown


def test_what_was_compared_is_said(inside: Path) -> None:
    page = report_html(attribute("mine/00.png", "declared.attributor"), "declared.attributor")
    assert "In coding, colour mode, depth and size the file is stored as own samples are." in page
    assert "How strongly it was compressed, and the other facts, were not compared." in page


def test_no_p_value_is_shown_as_nothing(inside: Path) -> None:
    report = attribute(["mine"], "declared.attributor", together=True)
    rare = [replace(each, verdict=replace(each.verdict, p_value=0.00002)) for each in report.judged]
    together = {"samples": 4, "outcome": "not attributed", "p_value": 0.00005, "log10_e_value": None}
    report = replace(report, judged=tuple(rare), together=together)
    page, shown = report_html(report, "declared.attributor"), verdicts(report.to_dict())
    assert "2e-05" in page and "p-value is 5e-05" in page
    assert "attributed  2e-05" in shown and "p-value 5e-05" in shown
    assert "0.0000" not in page + shown


def test_the_tippett_plot_counts_as_the_table_does(inside: Path) -> None:
    report = attribute("theirs/01.png", "declared.attributor")
    cell = report.attributor["population"]["conditions"]["all"]
    page = report_html(report, "declared.attributor")
    assert f"which weigh the same, {cell['misleading_foreign']:.1%} of them above 1" in page
    assert f"{cell['misleading_own']:.1%} of them below 1" in page


def test_one_threshold_is_drawn_for_one_condition_alone(tmp_path: Path) -> None:
    head, own = imprinting_generator(0, 32).head(100), imprinting_samples(60, 1, side=32)
    learned = morelli.train(head, own, rate=0.05, held_out=20, perturb=("none", "noise:0.1"))
    plain, noisy = imprinting_samples(3, 7, side=32), imprinting_samples(3, 8, side=32)
    noisy = (noisy + 0.1 * torch.randn(noisy.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    written(plain, tmp_path / "plain"), written(noisy, tmp_path / "noisy")
    same, both = attribute(tmp_path / "plain", learned), attribute(tmp_path, learned)
    assert {judged.verdict.notes["condition"] for judged in same.judged} == {"none"}
    assert len({judged.verdict.notes["condition"] for judged in both.judged}) == 2
    page = report_html(same, learned)
    own = learned.own_scores()["none"]
    drawn = float(relative(own, torch.tensor([threshold(own, 0.05)])))
    assert f"judged ones, with the threshold {drawn:.3g}." in page
    page = report_html(both, learned)
    assert "every condition has a threshold of its own, and none is drawn" in page
    assert "judged ones, with the threshold" not in page


def test_a_page_reads_each_file_once(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = attribute(["mine", "theirs"], "declared.attributor")
    read = []
    again = lambda path, *about, **more: read.append(path.name) or samples.read(path, *about, **more)  # noqa: E731
    monkeypatch.setattr(looking, "read", again)
    report_html(report, "declared.attributor")
    assert len(read) == len(report.judged) == 8
