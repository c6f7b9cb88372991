"""Metadata of each kind of file, as each tool writes it; absence; and files that mean harm."""

import io
import json
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from morelli.features.protocol import SampleSpec
from morelli.storage.provenance import provenance_of
from morelli.storage.samples import read

NOTHING = {"c2pa": None, "metadata": [], "tools": []}
SETTINGS = "a toy\nNegative prompt: a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 8x8"
GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 5}}})
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool="Draw Things">
<Iptc4xmpExt:DigitalSourceType rdf:resource="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">a toy &amp; a cat</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def picture(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (10, 200, 30)).save(out, kind, **options)
    return out.getvalue()


def png(*entries: tuple[str, str], packed: bool = False) -> bytes:
    texts = PngImagePlugin.PngInfo()
    for name, value in entries:
        texts.add_text(name, value, zip=packed)
    return picture("PNG", pnginfo=texts)


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)


def png_with(*chunks: bytes) -> bytes:
    plain = picture("PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


def exif(**fields: str | bytes) -> bytes:
    numbers = {"ImageDescription": 270, "Make": 271, "Model": 272, "Software": 305, "GPS": 34853}
    made = Image.Exif()
    for name, value in fields.items():
        if name == "UserComment":
            made.get_ifd(34665)[37510] = value
        elif name == "GPS":
            made.get_ifd(34853)[29] = value
        else:
            made[numbers[name]] = value
    return made.tobytes()


def found(data: bytes, kind: str) -> dict:
    notes: list[str] = []
    facts = provenance_of(data, kind, notes)
    assert notes == []
    return facts


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_absence_is_stated(kind: str) -> None:
    assert found(picture(kind), kind) == NOTHING


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("tool", "entries"),
    [
        ("Stable Diffusion web UI", [("parameters", SETTINGS)]),
        ("ComfyUI", [("prompt", GRAPH)]),
        ("ComfyUI", [("workflow", '{"last_node_id": 9, "nodes": []}')]),
        ("InvokeAI", [("invokeai_metadata", '{"seed": 1}')]),
        ("InvokeAI", [("Dream", "a toy -s 50")]),
        ("NovelAI", [("Software", "NovelAI"), ("Source", "Stable Diffusion XL 7BCCAA2C")]),
        ("SwarmUI", [("parameters", '{"sui_image_params": {"prompt": "a toy"}}')]),
        ("Fooocus", [("fooocus_scheme", "fooocus")]),
        ("Midjourney", [("Description", "a toy --v 6 Job ID: a7421d2f-b262-44f9-977c-ac23e9c7d3e3")]),
        ("GIMP", [("Software", "GIMP 2.10")]),
    ],
)
def test_text_of_each_tool(tool: str, entries: list[tuple[str, str]], packed: bool) -> None:
    facts = found(png(*entries, packed=packed), "PNG")
    assert facts["tools"] == [tool]
    said = [(entry["where"], entry["name"], entry["value"]) for entry in facts["metadata"]]
    assert said == [("PNG text", name, " ".join(value.split())) for name, value in entries]
    assert facts["metadata"][0]["tool"] == tool


def test_what_nobody_is_known_to_write_has_no_tool() -> None:
    facts = found(png(("Comment", "made with love"), ("parameters", "none"), ("Software", "x NovelAI")), "PNG")
    assert facts["tools"] == []
    assert [entry["tool"] for entry in facts["metadata"]] == [None, None, None]


def test_international_text() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("Title", "Stillleben – 静物", zip=True)
    texts.add_itxt("Title", "Äpfel", "de", "Titel")
    values = [entry["value"] for entry in found(picture("PNG", pnginfo=texts), "PNG")["metadata"]]
    assert values == ["Stillleben – 静物", "Äpfel"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif(kind: str) -> None:
    data = picture(kind, exif=exif(Software="Adobe Photoshop 26.1", Make="Toy", Model="T-1", GPS="2026:01:31"))
    facts = found(data, kind)
    assert {(entry["name"], entry["value"]) for entry in facts["metadata"]} == {
        ("Software", "Adobe Photoshop 26.1"),
        ("Make", "Toy"),
        ("Model", "T-1"),
    }
    assert facts["tools"] == ["Adobe Photoshop"]
    assert "2026" not in str(facts)  # no place, no day


@pytest.mark.parametrize("coding", ["utf-16-be", "utf-16-le", "ascii", "none"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_settings_in_a_user_comment(coding: str, kind: str) -> None:
    prefix = {"ascii": b"ASCII\0\0\0", "none": b"\0" * 8}.get(coding, b"UNICODE\0")
    comment = prefix + SETTINGS.encode("ascii" if coding == "none" else coding)
    (entry,) = found(picture(kind, exif=exif(UserComment=comment)), kind)["metadata"]
    assert entry == {
        "where": "EXIF",
        "name": "UserComment",
        "value": " ".join(SETTINGS.split()),
        "tool": "Stable Diffusion web UI",
    }


def test_comfyui_in_webp() -> None:
    data = picture("WEBP", exif=exif(Make='workflow:{"last_node_id": 9}', Model=f"prompt:{GRAPH}"))
    assert found(data, "WEBP")["tools"] == ["ComfyUI"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_xmp(kind: str) -> None:
    packet = XMP.encode()
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP)
        data = picture("PNG", pnginfo=texts)
    else:
        data = picture(kind, **({"tiffinfo": {700: packet}} if kind == "TIFF" else {"xmp": packet}))
    facts = found(data, kind)
    assert [(entry["where"], entry["name"], entry["value"]) for entry in facts["metadata"]] == [
        ("XMP", "CreatorTool", "Draw Things"),
        ("XMP", "DigitalSourceType", "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"),
        ("XMP", "description", "a toy & a cat"),
    ]
    assert facts["tools"] == ["Draw Things"]


def test_exif_as_imagemagick_writes_it() -> None:
    body = b"Exif\0\0" + exif(Software="NovelAI").removeprefix(b"Exif\0\0")
    text = f"\nexif\n{len(body):8d}\n{body.hex()}\n"
    assert found(png(("Raw profile type exif", text), packed=True), "PNG")["tools"] == ["NovelAI"]


def test_a_comment_of_jpeg() -> None:
    (entry,) = found(picture("JPEG", comment=b"made by hand"), "JPEG")["metadata"]
    assert entry == {"where": "JPEG comment", "name": "comment", "value": "made by hand", "tool": None}


def test_big_tiff() -> None:
    words = b"NovelAI\0"
    field = struct.pack("<HHQ8s", 305, 2, len(words), words)
    data = b"II" + struct.pack("<HHHQ", 43, 8, 0, 16) + struct.pack("<Q", 1) + field + bytes(8)
    assert found(data, "TIFF")["tools"] == ["NovelAI"]


def test_values_are_shortened_and_their_length_is_told() -> None:
    (long,) = found(png(("parameters", "x" * 1000)), "PNG")["metadata"]
    assert long["value"] == "x" * 240 + " … (1000 characters)"
    (longer,) = found(png(("parameters", "x" * 100_000)), "PNG")["metadata"]
    assert longer["value"].endswith("x … (100000 bytes)")
    (packed,) = found(png(("parameters", "x" * 100_000), packed=True), "PNG")["metadata"]
    assert packed["value"].endswith("x … (more than 65536 bytes)")


def test_control_characters_and_directions_are_dropped() -> None:
    (entry,) = found(png_with(chunk(b"iTXt", b"Na\x1bme\0\0\0\0\0a\x1b[31m\r\n\0b\xe2\x80\xaetxt")), "PNG")["metadata"]
    assert entry["name"] == "Na me"
    assert entry["value"] == "a [31m b txt"


# files that mean harm


def peak(data: bytes, kind: str) -> tuple[dict, list[str], int]:
    notes: list[str] = []
    tracemalloc.start()
    facts = provenance_of(data, kind, notes)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return facts, notes, most


def test_megabytes_of_text_cost_little() -> None:
    size = 20 * 2**20
    plain = png_with(chunk(b"tEXt", b"parameters\0" + b"x" * size))
    packed = png_with(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"x" * size)))
    for data, told in ((plain, f"({size} bytes)"), (packed, "(more than 65536 bytes)")):
        facts, _, most = peak(data, "PNG")
        assert facts["metadata"][0]["value"].endswith(told)
        assert most < 8 * 2**20


def test_many_texts_are_not_all_shown() -> None:
    texts = b"".join(chunk(b"tEXt", b"a%d\0%b" % (i, b"y" * 60_000)) for i in range(300))
    facts, notes, most = peak(png_with(texts), "PNG")
    assert len(facts["metadata"]) == 64
    assert notes == ["more than 64 entries of metadata; the rest is not shown"]
    assert most < 32 * 2**20


def test_many_parts_are_not_all_walked() -> None:
    notes: list[str] = []
    assert provenance_of(b"\x89PNG\r\n\x1a\n" + bytes(12) * 150_000, "PNG", notes) == NOTHING
    assert provenance_of(b"\xff\xd8" + b"\xff" * 150_000, "JPEG", notes) == NOTHING
    assert notes == ["more than 100000 parts; metadata behind those is not looked for"] * 2


def test_many_fields_over_the_same_bytes() -> None:
    count = 4000
    entries = b"".join(struct.pack("<HHII", 270, 2, 2**20, 8) for _ in range(count))
    data = b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(2**20)
    facts, _, most = peak(png_with(chunk(b"eXIf", data)), "PNG")
    assert len(facts["metadata"]) == 1
    assert most < 8 * 2**20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II",
        b"XX*\0" + bytes(8),
        b"II*\0\xff\xff\xff\xff",
        b"II*\0" + struct.pack("<IH", 8, 3),
        b"II*\0" + struct.pack("<IHHHII", 8, 1, 34665, 4, 1, 2**32 - 1),
    ],
)
def test_damaged_exif_is_a_note(data: bytes) -> None:
    notes: list[str] = []
    assert provenance_of(png_with(chunk(b"eXIf", data)), "PNG", notes) == NOTHING
    assert notes == ["EXIF data is damaged; what could be read of it is shown"]


def test_exif_that_leads_back_to_itself_ends() -> None:
    data = b"II*\0" + struct.pack("<IHHHII", 8, 1, 34665, 4, 1, 8) + bytes(4)
    assert found(png_with(chunk(b"eXIf", data)), "PNG") == NOTHING


@pytest.mark.parametrize(
    ("packet", "word"),
    [
        ("<a><b></a>", "damaged"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "entities"),
        ("<a>" * 100_000, "damaged"),
        ("", "damaged"),
    ],
)
def test_hostile_xmp_is_a_note(packet: str, word: str) -> None:
    notes: list[str] = []
    data = png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet.encode()))
    assert provenance_of(data, "PNG", notes) == NOTHING
    assert len(notes) == 1 and word in notes[0]


def test_deep_xmp_ends() -> None:
    packet = XMP.replace("a toy &amp; a cat", "<a>" * 50_000 + "</a>" * 50_000)
    assert found(picture("WEBP", xmp=packet.encode()), "WEBP")["tools"] == ["Draw Things"]


def packed_xmp(packet: str) -> bytes:
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet.encode()))


NESTED = '<r xmlns:a="http://ns.adobe.com/photoshop/1.0/">{}</r>'
HUGE = [
    (packed_xmp(NESTED.format("<a:Credit>" * 4000 + "x " * 450_000 + "</a:Credit>" * 4000)), 1, ""),
    (packed_xmp(NESTED.format("<a:Credit>x</a:Credit>" * 45_000)), 64, "64 entries of metadata"),
    (packed_xmp(f"<a>{'<a/>' * 250_000}</a>") * 100, 0, "4 packets of XMP"),
    (packed_xmp("<a " + " ".join(f'b{i}=""' for i in range(80_000)) + "/>") * 100, 0, "4 packets of XMP"),
]


@pytest.mark.parametrize(("chunks", "entries", "told"), HUGE, ids=["nested", "beside", "packets", "attributes"])
def test_huge_xmp_costs_little(chunks: bytes, entries: int, told: str) -> None:
    data = png_with(chunks)
    start = time.process_time()
    provenance_of(data, "PNG", [])
    assert time.process_time() - start < 4
    facts, notes, most = peak(data, "PNG")
    assert len(facts["metadata"]) == entries
    assert most < 32 * 2**20
    assert [note.split(";")[0] for note in notes] == ([f"more than {told}"] if told else [])


def test_a_long_property_of_xmp_is_cut() -> None:
    (entry,) = found(png_with(packed_xmp(NESTED.format(f"<a:Credit>{'y' * 100_000}</a:Credit>"))), "PNG")["metadata"]
    assert entry["value"] == "y" * 240 + " … (100000 bytes)"


@pytest.mark.parametrize("chunk_of", [b"zTXt", b"iTXt"])
def test_damaged_compression(chunk_of: bytes) -> None:
    body = b"a\0\0nonsense" if chunk_of == b"zTXt" else b"a\0\1\0\0\0nonsense"
    (entry,) = found(png_with(chunk(chunk_of, body)), "PNG")["metadata"]
    assert entry["value"] == "(damaged)"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_files_that_end_early(kind: str) -> None:
    whole = picture(kind, exif=exif(Software="NovelAI", Make="Toy"))
    for end in range(0, len(whole), 3):
        provenance_of(whole[:end], kind, [])


# beside a verdict


def test_facts_of_a_judged_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(("parameters", SETTINGS)))
    facts = read(tmp_path / "a.png", SampleSpec((3, 8, 8))).facts
    assert facts["provenance"]["tools"] == ["Stable Diffusion web UI"]
    assert facts["notes"] == []
    table = tmp_path / "a.csv"
    table.write_text("1,2\n")
    assert "provenance" not in read(table, SampleSpec((2,))).facts
