"""Every route, every refusal, and that the web says what the command line says."""

from __future__ import annotations

import json
import math
import struct
import sys
import tempfile
import zlib
from html import escape
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from web_toys import ATTRIBUTOR, TABLE, Odd

from morelli import SampleSpec
from morelli.cli.main import main
from morelli.errors import OutOfRange
from morelli.web.bench import Bench, reading_limits
from morelli.web.contents import unwanted
from morelli.web.refusals import STATUSES
from morelli.web.settings import Limits, Settings
from morelli.web.uploads import shown


def post(client: TestClient, *files: tuple[str, bytes], to: str = "/v1/attribute", **query: Any) -> Any:
    return client.post(to, params=query, files=[("files", file) for file in files])


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    monkeypatch.setattr(sys, "argv", ["morelli", *map(str, words)])
    with pytest.raises(SystemExit):
        main()
    return json.loads(capsys.readouterr().out)


def without_custody(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key not in ("custody", "id")}


def test_the_web_says_what_the_command_says(client, own, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(own[0])
    (tmp_path / "b.jpg").write_bytes(own[1])  # a suffix that lies
    (tmp_path / "torn.png").write_bytes(own[2][:80])
    names = ["a.png", "b.jpg", "torn.png"]
    said = command(monkeypatch, capsys, "attribute", *names, "--with", ATTRIBUTOR, "--together", "--fdr", 0.2, "--json")
    found = post(client, *((name, Path(name).read_bytes()) for name in names), together=True, fdr=0.2)
    assert found.status_code == 200
    assert without_custody(found.json()) == without_custody(said)
    assert "suffix .jpg does not match" in found.text
    assert str(tmp_path) not in found.text


def test_the_gallery_says_what_the_command_says(client, suspects, gallery, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(suspects[0])
    options = ("--gallery", gallery[0], "--network", gallery[1])
    said = command(monkeypatch, capsys, "identify", "a.png", *options, "--json")
    found = post(client, ("a.png", suspects[0]), to="/v1/identify")
    assert found.json() == said
    assert found.json()["samples"][0]["candidates"][0]["name"] == "m0"


def test_all_of_one_source_and_nothing_readable(client, suspects) -> None:
    both = [("a.png", suspects[0]), ("b.png", suspects[1])]
    assert len(post(client, *both, to="/v1/identify").json()["samples"]) == 2
    together = post(client, *both, to="/v1/identify", together=True).json()
    assert [each["file"] for each in together["samples"]] == ["2 files"]
    nothing = post(client, ("a.txt", b"hello"), to="/v1/identify", together=True).json()
    assert nothing["samples"] == []
    assert nothing["refused"][0]["reason"].startswith("a.txt starts with")


def test_a_report_to_keep(client, own) -> None:
    found = post(client, ("<b>.png", own[0]), ("c.png", own[1]), ("x.zip", b"PK\x03\x04"), to="/v1/report")
    assert found.status_code == 200
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert found.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in found.headers["content-security-policy"]
    assert "&lt;b&gt;.png" in found.text
    assert "<b>.png" not in found.text
    assert "data:image/png;base64," in found.text
    assert "morelli.upload" not in found.text
    assert "is a ZIP archive" in found.text


def test_a_report_as_pdf_and_its_id(client, own) -> None:
    pytest.importorskip("weasyprint", exc_type=Exception)
    said = post(client, ("a.png", own[0])).json()
    assert said["id"] in post(client, ("a.png", own[0]), to="/v1/report").text
    assert said["custody"]["command"] == "morelli attribute a.png --with images-1.attributor --json --device cpu"
    found = post(client, ("a.png", own[0]), to="/v1/report", form="pdf")
    assert found.headers["content-type"] == "application/pdf"
    assert found.content.startswith(b"%PDF")
    assert client.get("/v1/server").json()["pdf"] is True


def test_the_page_is_about_the_json_whose_id_it_shows(client, own) -> None:
    said = post(client, ("a.png", own[0])).json()
    page = post(client, ("a.png", own[0]), to="/v1/report").text
    assert said["id"] in page
    assert escape(said["custody"]["command"]) in page


def test_rows_of_one_request_are_bounded_and_shared(own) -> None:
    bench = Bench(Settings((TABLE,), limits=Limits(max_rows=10)))

    def judged(folder: Path, *counts: int) -> dict[str, int]:
        files = []
        for i, count in enumerate(counts):
            (folder / f"{i}.csv").write_bytes(b"0.1,0.2,0.3,0.4,0.5,0.6\n" * count)
            files.append([str(folder / f"{i}.csv"), f"{i}.csv", ""])
        orders = [{"kind": "attribute", "attributor": TABLE.name, "files": files}] * 2
        one, other = bench.answer(orders)
        assert one["summary"] == other["summary"]
        return one["summary"]

    with tempfile.TemporaryDirectory() as folder:
        assert judged(Path(folder), 10)["refused"] == 0
        assert judged(Path(folder), 11)["refused"] == 1
        found = judged(Path(folder), 6, 5)
        assert found["refused"] == 1
        assert sum(found.values()) - 1 == 5


def test_windows_of_sound_are_bounded() -> None:
    limits = reading_limits(1000, 4, SampleSpec((2, 512)))
    assert (limits.max_rows, limits.max_values) == (250, 250 * 2 * 512)
    assert reading_limits(10, 16, SampleSpec((6,))).max_rows == 1


@pytest.mark.parametrize(
    "wrong",
    [{"time_limit": math.inf}, {"time_limit": math.nan}, {"queue": 0}, {"rate_limit": 15}, {"max_rows": -1}],
)
def test_limits_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(OutOfRange, match=next(iter(wrong))):
        Limits(**wrong)
    assert Limits(rate_limit=0).rate_limit == 0


def test_tables_have_an_attributor_of_their_own(client) -> None:
    rows = b"0.1,0.2,0.3,0.4,0.5,0.6\n" * 3
    found = post(client, ("rows.csv", rows), attributor="table-1.attributor").json()
    assert [each["row"] for each in found["verdicts"]] == [0, 1, 2]
    assert found["attributor"]["name"] == "table-1.attributor"
    assert post(client, ("rows.csv", rows)).json()["summary"]["refused"] == 1


BUNDLES = {
    "a ZIP archive": b"PK\x03\x04" + b"\0" * 600,
    "a safetensors file": struct.pack("<Q", 40) + b'{"weight":{"dtype":"F32"}}',
    "a Python pickle": b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x07builtin",
    "a gzip archive": b"\x1f\x8b\x08\0" + b"\0" * 20,
    "a tar archive": b"model\0".ljust(257, b"\0") + b"ustar\0" + b"\0" * 249,
    "JSON": b'{"format": 1, "kind": "attributor"}',
}
OTHERS = {
    "a program": [b"MZ\x90\0\3", b"\xcf\xfa\xed\xfe\7", b"\xce\xfa\xed\xfe\7", b"#!/bin/sh\n", b"\x7fELF\2"],
    "JSON": [b"\xef\xbb\xbf{}", b" \n\t{", b"[1,2]", b' [ {"a": 1}]', b"[null]"],
    "": [b"MZ,intensity\n1,2\n", b"[M+H],b\n1,2\n", b"a,b\n", b"\xef\xbb\xbfa,b\n", b"BM", b""],
}


@pytest.mark.parametrize(("what", "data"), [(what, data) for what in OTHERS for data in OTHERS[what]])
def test_the_first_bytes_betray(what: str, data: bytes) -> None:
    assert unwanted(data) == what


@pytest.mark.parametrize("what", BUNDLES)
@pytest.mark.parametrize("name", ["suspect.png", "my.attributor"])
def test_bundles_are_refused_whatever_they_are_called(client, own, what: str, name: str) -> None:
    found = post(client, (name, BUNDLES[what]), ("a.png", own[0])).json()
    assert found["refused"] == [
        {"file": name, "reason": f"{name} is {what}. Only samples are read here, never bundles, models or archives."}
    ]
    assert len(found["verdicts"]) == 1


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"hello", "no known format"),
        (png_header(60_000, 60_000), "the limit is 100000"),
        (png_header(400, 400), "claims 160000 pixels; the limit is 100000"),
        (png_header(32, 32), "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 50, "damaged"),
    ],
)
def test_hostile_files_are_one_line_each(client, data: bytes, says: str) -> None:
    found = post(client, ("a.png", data))
    assert found.status_code == 200
    (refused,) = found.json()["refused"]
    assert refused["reason"].startswith("a.png ")
    assert says in refused["reason"]
    assert "\n" not in refused["reason"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\a.png", "a.png"),
        ("ä" * 300 + ".png", "ä" * 120),
        (".", "."),
    ],
)
def test_names_are_shown_and_never_opened(client, own, name: str, shown: str) -> None:
    assert post(client, (name, own[0])).json()["verdicts"][0]["file"] == shown


def test_control_characters_are_not_shown() -> None:
    assert shown("a\x07\u202eb.png") == "a??b.png"
    assert shown("") == shown("folder/") == "unnamed"


def said(response: Any, status: int, error: str) -> str:
    assert response.status_code == status, response.text
    assert status in STATUSES
    assert set(response.json()) == {"error", "message"}
    assert response.json()["error"] == error
    return str(response.json()["message"])


def test_what_a_client_may_send(serve, own) -> None:
    client = serve(max_bytes=2_000, max_files=2)
    said(post(client, ("a.png", b"\x89PNG" + b"\0" * 70_000)), 413, "too_large")
    said(post(client, *[("a.png", b"1")] * 3), 413, "too_many_files")
    assert post(client, ("a.png", own[0][:1_500])).status_code == 200


def test_the_size_is_counted_not_believed(serve) -> None:
    """A body without a length is cut off where it is too long, not after it was read."""
    client = serve(max_bytes=100_000)
    sent = 0

    def body():
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        while sent < 50_000_000:
            sent += 50_000
            yield b"\0" * 50_000

    answer = client.post("/v1/attribute", content=body(), headers={"content-type": "multipart/form-data; boundary=x"})
    said(answer, 413, "too_large")


@pytest.mark.parametrize(
    ("body", "kind", "status", "error"),
    [
        (b"{}", "application/json", 415, "not_multipart"),
        (b"", "", 415, "not_multipart"),
        (b"", "multipart/form-data", 400, "malformed"),
        (b"--y", "multipart/form-data; boundary=x", 400, "malformed"),
        (b"", "multipart/form-data; boundary=x", 422, "no_file"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422, "no_file"),
        (
            b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nabc\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
            422,
            "no_file",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nabc',
            "multipart/form-data; boundary=x",
            400,
            "malformed",
        ),
        (b"--x\r\n" + b"A: b\r\n" * 9_000 + b"\r\n", "multipart/form-data; boundary=x", 400, "malformed"),
        (b"--x\r\nA: " + b"b" * 9_000 + b"\r\n\r\n", "multipart/form-data; boundary=x", 400, "malformed"),
        (b"--x\r\n\r\n", f"multipart/form-data; boundary={'x' * 5000}", 400, "malformed"),
        (
            b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\nabc\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
            422,
            "no_file",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n' + b"a" * 70_000,
            "multipart/form-data; boundary=x",
            413,
            "too_large",
        ),
    ],
)
def test_bodies_that_are_none(client, body: bytes, kind: str, status: int, error: str) -> None:
    said(client.post("/v1/attribute", content=body, headers={"content-type": kind}), status, error)


def test_one_client_may_send_so_many(serve, own) -> None:
    client = serve(rate_limit=3, max_files=2)
    assert post(client, ("a.png", own[0]), ("b.png", own[1])).status_code == 200
    answer = post(client, ("a.png", own[0]), ("b.png", own[1]))
    said(answer, 429, "too_many")
    assert 0 < int(answer.headers["retry-after"]) <= 20
    text = client.get("/metrics").text
    assert 'morelli_refused_total{why="too_many"} 1.0' in text
    assert post(client, ("c.png", own[2])).status_code == 200  # what was refused has taken nothing
    said(post(client, ("a.png", own[0])), 429, "too_many")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer no"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Basic sesame"}, 401),
        ({"authorization": "Bearer sesame"}, 200),
        ({"authorization": "bearer sesame"}, 200),
    ],
)
def test_tokens(serve, sent: dict[str, str], status: int) -> None:
    client = serve(token="sesame")
    for route in ("/v1/server", "/v1/attributors", "/v1/gallery", "/v1/openapi.json", "/metrics"):
        assert client.get(route, headers=sent).status_code == status, route
    for route in ("/", "/page/page.js", "/health", "/ready"):
        assert client.get(route, headers=sent).status_code == 200, route
    if status == 401:
        said(post(TestClient(client.app, headers=sent | {"host": "localhost"}), ("a.png", b"1")), 401, "no_token")


def test_tokens_are_bytes_and_their_refusals_are_counted(serve) -> None:
    client = serve(token="pässwordà ")
    for sent, status in (("pässwordà", 200), ("pässword", 401)):
        header = {"authorization": b"Bearer " + sent.encode()}  # as curl sends it
        assert client.get("/v1/server", headers=header).status_code == status
    text = client.get("/metrics", headers={"authorization": "Bearer pässwordà".encode()}).text
    assert 'morelli_refused_total{why="no_token"} 1.0' in text


def test_other_sites_and_other_names(serve, own) -> None:
    client = serve(hosts=("localhost", "[::1]"))
    assert client.get("/health", headers={"host": "localhost:8000"}).status_code == 200
    assert client.get("/health", headers={"host": "[::1]:8000"}).status_code == 200
    said(client.get("/health", headers={"host": "evil.example:8000"}), 421, "other_host")
    said(client.post("/v1/attribute", headers={"sec-fetch-site": "cross-site"}), 403, "other_site")
    answer = client.post("/v1/attribute", headers={"sec-fetch-site": "same-origin"}, files={"files": ("a.png", own[0])})
    assert answer.status_code == 200


def test_what_is_not_there(client, own) -> None:
    assert "images-1.attributor" in said(post(client, ("a.png", own[0]), attributor="other"), 404, "no_attributor")
    said(post(client, ("a.png", own[0]), fdr=2), 422, "invalid")
    assert "atributor" in said(post(client, ("a.png", own[0]), atributor="other"), 422, "invalid")
    said(post(client, ("a.png", own[0]), to="/v1/report", fdr=0.1), 422, "invalid")  # which another route has
    said(client.get("/v1/server", params={"together": True}), 422, "invalid")
    for route in ("/nowhere", "/v1/nowhere", "/page/../settings.py", "/docs", "/v1/attribute/"):
        said(client.get(route), 404, "not_found")
    assert client.get("/v1/attribute").status_code == 405
    assert client.get("/v1/attribute").headers["allow"] == "POST"


def test_a_server_without_a_gallery(serve) -> None:
    client = serve(about=Odd().about())
    said(post(client, ("a.png", b"1"), to="/v1/identify"), 404, "no_gallery")
    said(client.get("/v1/gallery"), 404, "no_gallery")
    assert client.get("/v1/server").json()["gallery"] is None


def test_what_is_served(client) -> None:
    assert client.get("/v1/server").json()["attributors"] == ["images-1.attributor", "table-1.attributor"]
    first, second = client.get("/v1/attributors").json()["attributors"]
    assert first["reads"] == {
        "kind": "picture",
        "formats": ["PNG", "JPEG", "WebP", "BMP", "TIFF", "DICOM"],
        "shape": [3, 32, 32],
        "larger": False,
    }
    assert second["reads"]["kind"] == "table"
    for scores in first["scores"].values():
        assert sum(scores["counts"]) == first["held_out"]
        assert scores["least"] < scores["threshold"] <= scores["most"]
    models = client.get("/v1/gallery").json()["models"]
    assert [(each["name"], each["samples"]) for each in models] == [("m0", 10), ("m1", 10)]
    assert str(ATTRIBUTOR.parent) not in client.get("/v1/attributors").text + client.get("/v1/gallery").text


def test_the_page_and_what_browsers_are_told(client) -> None:
    for path in ("/", "/page/page.css", "/page/page.js", "/page/icon.svg"):
        answer = client.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "style=" not in answer.text.replace("preserveAspectRatio=", "")
        assert "https://" not in answer.text
    assert client.get("/health").headers["cache-control"] == "no-store"
    assert "server" not in client.get("/health").headers


def test_metrics(client, own) -> None:
    post(client, ("a.png", own[0]), ("x.zip", b"PK\x03\x04"))
    client.get("/nowhere/at/all")
    text = client.get("/metrics").text
    assert 'morelli_verdicts_total{attributor="images-1.attributor",outcome="attributed"} 1.0' in text
    assert 'morelli_refused_total{why="bundle"} 1.0' in text
    assert 'morelli_refused_total{why="file"} 0.0' in text  # a bundle is not counted twice
    assert 'morelli_refused_total{why="not_found"} 1.0' in text
    assert 'morelli_requests_total{route="/v1/attribute",status="200"} 1.0' in text
    assert 'morelli_requests_total{route="other",status="404"} 1.0' in text
    assert "morelli_judging_seconds_count" in text
    assert "nowhere" not in text


def test_not_ready_while_closing(client) -> None:
    assert client.get("/ready").json()["status"] == "ready"
    client.app.state.service.desk.closing = True
    said(client.get("/ready"), 503, "closing")
    said(post(client, ("a.png", b"1")), 503, "closing")
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(("kind", "status", "error"), [("fail", 500, "failed"), ("refuse", 422, "unsuitable")])
def test_what_goes_wrong_within_stays_within(bench, serve, own, kind: str, status: int, error: str) -> None:
    class Failing(Odd):
        def about(self) -> dict[str, Any]:
            return bench.about()

        def answer(self, orders: Any) -> Any:
            return super().answer([dict(order) | {"attributor": kind} for order in orders])

    message = said(post(serve(judging=Failing()), ("a.png", own[0])), status, error)
    assert "Traceback" not in message
    assert "a mistake of ours" not in message


def test_what_nobody_foresaw_has_the_same_shape(client, own, monkeypatch) -> None:
    def broken(client: str, files: int = 1) -> int:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(client.app.state.service.allowance, "take", broken)
    answer = post(client, ("a.png", own[0]))
    assert "a mistake" not in said(answer, 500, "failed")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/health").status_code == 200
