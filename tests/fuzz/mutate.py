"""Changes of sound inputs, by what they are made of: chunks with checksums, tags, cells, JSON, tensors, graphs.

Damage that only meets a checksum or a length tests nothing else, so both are put right again, mostly.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Any

import torch
from safetensors.torch import load, save

Files = dict[str, bytes]
Change = Callable[[bytes, Random], bytes]
NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 8000, 2**24, 0x7FFFFFFF, 2**31)
NUMBERS += (2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = (
    "",
    " ",
    "x",
    "0",
    "-1",
    "nan",
    "inf",
    "1e999",
    "1_0",
    "٣",
    "1,5",
    '"',
    "'",
    "\0",
    "\n",
    "\r",
    "\r\n",
    "\x1b[31m",
)
TEXTS += ("\u202e", "é" * 300, "9" * 5000, "../../x", "/etc/passwd", "\ud800", "=1+1", ";" * 50, "\t", "0x10", "1e-320")
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2,
    3.5,
    1e308,
    -0.0,
    10**6,
    2**31,
    2**63,
    10**30,
    [],
    {},
    [[]],
    "",
    "x",
)
VALUES += ([0], [10**6, 10**6], [-1, 3], {"a": 1}, {"type": "x"}, "\x1b[2J\n", "x" * 10_000, "nan", [1] * 2000)


def _spot(data: bytes | bytearray, rng: Random) -> int:
    """Anywhere, but every second time near the start, where headers are."""
    return rng.randrange(max(1, min(len(data), 64) if rng.random() < 0.5 else len(data)))


def _number(rng: Random) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    return (rng.choice(NUMBERS) % 256**size).to_bytes(size, rng.choice(("big", "little")))


def anyhow(data: bytes, rng: Random) -> bytes:
    """Bytes flipped, set, moved, doubled, dropped, cut off, without knowing what they are."""
    out = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at, length = _spot(out, rng), rng.choice((1, 2, 4, 16, 200))
        kind = rng.randrange(8)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.randrange(256)
        elif kind == 2:
            new = _number(rng)
            out[at : at + len(new)] = new
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length] * rng.choice((1, 2, 30))
        elif kind == 5:
            out[at:at] = rng.randbytes(length)
        elif kind == 6:
            out[at : at + length] = rng.choice((b"\0", b"\xff")) * length
        else:
            del out[at:]
        out = out or bytearray(b"\0")
    return bytes(out)


def _listed(parts: list[Any], rng: Random, inside: Callable[[Any, Random], Any]) -> list[Any]:
    """One part dropped, doubled, moved, or changed inside."""
    parts = list(parts)
    for _ in range(rng.choice((1, 1, 2))):
        if not parts:
            break
        at, kind = rng.randrange(len(parts)), rng.randrange(8)
        if kind == 0:
            del parts[at]
        elif kind == 1:
            parts[at:at] = [parts[at]] * rng.choice((1, 1, 40))
        elif kind == 2:
            parts.insert(rng.randrange(len(parts)), parts.pop(at))
        else:
            parts[at] = inside(parts[at], rng)
    return parts


def png(data: bytes, rng: Random) -> bytes:
    """Chunks; their checksums are right. Sometimes what is compressed is changed, or the size that is claimed."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length

    def inside(part: tuple[bytes, bytes], rng: Random) -> tuple[bytes, bytes]:
        name, body = part
        if name == b"IDAT" and rng.random() < 0.6:
            return name, zlib.compress(anyhow(zlib.decompress(body), rng))
        if name == b"IHDR" and rng.random() < 0.6:
            width, height = rng.choice(((8000, 7999), (24, 32), (32, 24), (1, 2**31 - 1), (0, 0), (65536, 65536)))
            depth = bytes((rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 1)), 0, 0, rng.choice((0, 1))))
            return name, struct.pack(">II", width, height) + depth
        return (rng.choice((b"tRNS", b"PLTE", b"acTL", b"eXIf", b"iCCP", b"zTXt", name)), anyhow(body, rng))

    chunks = _listed(chunks, rng, inside)
    packed = (struct.pack(">I", len(body)) + name + body for name, body in chunks)
    sums = (struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks)
    return data[:8] + b"".join(a + b for a, b in zip(packed, sums, strict=True))


def riff(data: bytes, rng: Random) -> bytes:
    chunks, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    chunks = _listed(chunks, rng, lambda part, rng: (part[0], anyhow(part[1], rng)))
    sized = [(n, rng.choice(NUMBERS) % 2**32 if rng.random() < 0.1 else len(b), b) for n, b in chunks]
    body = b"".join(n + struct.pack("<I", size) + b + b"\0" * (len(b) % 2) for n, size, b in sized)
    return data[:4] + struct.pack("<I", len(body) + 4) + data[8:12] + body


def jpeg(data: bytes, rng: Random) -> bytes:
    """Segments with right lengths, and what is coded between them."""
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (0xD9, 0xDA):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((data[at + 1 : at + 2], data[at + 4 : at + 2 + length]))
        at += 2 + length
    rest = data[at:]
    if rng.random() < 0.3:
        rest = anyhow(rest, rng)
    segments = _listed(segments, rng, lambda part, rng: (part[0], anyhow(part[1], rng)[:65000]))
    return data[:2] + b"".join(b"\xff" + n + struct.pack(">H", len(b) + 2) + b for n, b in segments) + rest


def tiff(data: bytes, rng: Random) -> bytes:
    """One or two entries of the first directory get another tag, type, count or value."""
    order = "<" if data[:2] == b"II" else ">"
    out = bytearray(data)
    start = struct.unpack(order + "I", data[4:8])[0]
    count = struct.unpack(order + "H", data[start : start + 2])[0] if start + 2 <= len(data) else 0
    for _ in range(rng.choice((1, 2))):
        at = start + 2 + 12 * rng.randrange(max(1, count))
        field, size, limit = rng.choice(
            ((0, "H", 2**16), (2, "H", 20), (4, "I", 2**32), (8, "I", 2**32), (8, "I", 2**32))
        )
        value = rng.choice((*NUMBERS, rng.randrange(limit), *range(254, 285), 317, 322, 323, 330, 34665)) % limit
        if at + 12 <= len(out):
            struct.pack_into(order + size, out, at + field, value)
    return bytes(out)


def dicom(data: bytes, rng: Random) -> bytes:
    """Elements with explicit types; what is in one, its type or its length."""
    elements, at = [], 132
    long = (b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN", b"OD", b"OL", b"UC", b"UR")
    while at + 8 <= len(data):
        kind = data[at + 4 : at + 6]
        wide = kind in long
        head = at + (12 if wide else 8)
        size = struct.unpack("<I", data[at + 8 : at + 12])[0] if wide else struct.unpack("<H", data[at + 6 : at + 8])[0]
        whole = len(data) if size == 2**32 - 1 else head + size
        elements.append((data[at : at + 4], kind, wide, size, data[head:whole]))
        at = whole

    def inside(part: Any, rng: Random) -> Any:
        tag, kind, wide, size, body = part
        choice = rng.randrange(5)
        if choice == 0:
            tag = anyhow(tag, rng)[:4].ljust(4, b"\0")
        elif choice == 1:
            kind = rng.choice((b"US", b"DS", b"IS", b"CS", b"OB", b"SQ", b"UN", b"LO", b"FD", b"XX"))
        elif choice == 2:
            size = rng.choice(NUMBERS)
        else:
            body = rng.choice((anyhow(body, rng), _number(rng), b"1e400 ", b"nan\\1", b"-0", b"", b"1\\2\\3"))
            size = len(body) if size != 2**32 - 1 else size
        return tag, kind, wide, size, body

    done = b""
    for tag, kind, wide, size, body in _listed(elements, rng, inside):
        done += tag + kind + (b"\0\0" + struct.pack("<I", size % 2**32) if wide else struct.pack("<H", size % 2**16))
        done += body
    return data[:132] + done


def _ogg_sum(page: bytes) -> int:
    total = 0
    for byte in page:
        total ^= byte << 24
        for _ in range(8):
            total = (total << 1 ^ 0x04C11DB7 if total >> 31 else total << 1) & 0xFFFFFFFF
    return total


def ogg(data: bytes, rng: Random) -> bytes:
    """Pages with right checksums."""
    pages = [b"OggS" + page for page in data.split(b"OggS")[1:]]
    pages = _listed(pages, rng, lambda page, rng: page[:5] + anyhow(page[5:], rng))
    done = b""
    for page in pages:
        bare = page[:22] + b"\0\0\0\0" + page[26:]
        done += bare[:22] + struct.pack("<I", _ogg_sum(bare)) + bare[26:]
    return done


def frames(data: bytes, rng: Random) -> bytes:
    """MP3: the headers of frames."""
    out, starts = bytearray(data), [i for i in range(len(data) - 4) if data[i] == 0xFF and data[i + 1] & 0xE0 == 0xE0]
    for at in rng.sample(starts, min(len(starts), rng.choice((1, 2, 20)))):
        out[at + rng.randrange(1, 4)] = rng.randrange(256)
    return bytes(out) if rng.random() < 0.8 else b"ID3\x04\0\0" + rng.randbytes(4) + bytes(out)


def flac(data: bytes, rng: Random) -> bytes:
    """The fields of STREAMINFO and the first bytes of frames."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 2, 3))):
        at = rng.randrange(4, 46) if rng.random() < 0.7 else _spot(out, rng)
        new = _number(rng)
        out[at : at + len(new)] = new
    return bytes(out)


def text(data: bytes, rng: Random) -> bytes:
    """Cells and lines of a table."""
    lines: list[list[str]] = [line.split(",") for line in data.decode("utf-8", "surrogateescape").split("\n")]
    for _ in range(rng.choice((1, 1, 2, 4))):
        line = rng.choice(lines)
        at, kind = rng.randrange(len(line) or 1), rng.randrange(8)
        if kind < 4 and line:
            line[at] = rng.choice(TEXTS) if rng.random() < 0.7 else line[at] + rng.choice(TEXTS)
        elif kind == 4:
            line[at:at] = [rng.choice(TEXTS)] * rng.choice((1, 1, 500))
        elif kind == 5:
            del line[at:]
        elif kind == 6:
            lines.insert(rng.randrange(len(lines)), list(line))
        else:
            lines = (lines * rng.choice((1, 2, 50)))[:5000]
    joined = rng.choice("\n\n\n\r").join(",".join(line) for line in lines)
    if rng.random() < 0.2:
        joined = joined.replace(",", rng.choice(";\t|"))
    front = rng.choice((b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe"))
    return front + joined.encode("utf-8", "surrogatepass" if rng.random() < 0.5 else "replace")


def _within(value: Any, rng: Random, depth: int = 0) -> Any:
    """One place of a JSON value gets another value or name."""
    if isinstance(value, dict) and value and (rng.random() < 0.85 or not depth):
        key = rng.choice(sorted(value))
        found = dict(value)
        kind = rng.randrange(10)
        if kind == 0:
            del found[key]
        elif kind == 1:
            found[rng.choice(("x", "", "a/b", "\x1b[0m\n", key + "x"))] = found.pop(key)
        else:
            found[key] = _within(value[key], rng, depth + 1)
        return found
    if isinstance(value, list) and value and rng.random() < 0.7:
        found = list(value)
        at = rng.randrange(len(found))
        found[at] = _within(found[at], rng, depth + 1)
        return found if rng.random() < 0.7 else found[:at] + found[at:] * rng.choice((0, 2))
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.4:
        return value + rng.choice((-1, 1, -value, value, 10**6))
    return rng.choice(VALUES)


def as_json(data: bytes, rng: Random) -> bytes:
    if rng.random() < 0.1:
        return rng.choice((anyhow(data, rng), b"[" * 50_000, b"1", b"null", b"", b"\xff", b'{"a":1,"a":2}'))
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2))):
        value = _within(value, rng)
    return json.dumps(value).encode()


def tensors(data: bytes, rng: Random) -> bytes:
    """The header of safetensors as JSON, or sound tensors of other names, shapes, types and numbers, or just bytes."""
    kind = rng.random()
    if kind < 0.2:
        return anyhow(data, rng)
    size = int.from_bytes(data[:8], "little")
    if kind < 0.45:
        header = as_json(data[8 : 8 + size], rng)
        return struct.pack("<Q", len(header)) + header + data[8 + size :]
    found = load(data)
    for _ in range(rng.choice((1, 1, 2))):
        if not found:
            break
        name, what = rng.choice(sorted(found)), rng.randrange(9)
        x = found[name]
        if what == 0:
            del found[name]
        elif what == 1:
            found[rng.choice(("", "x", "a/b/c", "\x1b[1m", name + "x", "weight"))] = found.pop(name)
        elif what == 2:
            found[name] = x.to(
                rng.choice((torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8))
            )
        elif what == 3:
            found[name] = x.reshape(-1)[: rng.choice((0, 1, 3))].clone()
        elif what == 4:
            found[name] = rng.choice(
                (x[None], x.reshape(-1), x.T if x.ndim == 2 else x[:, None] if x.ndim else x[None])
            )
        elif what == 5 and x.is_floating_point() and x.numel():
            found[name] = x * rng.choice((0.0, -1.0, 1e38, 1e-45))
        elif what == 6 and x.is_floating_point() and x.numel():
            found[name] = (
                x.clone()
                .reshape(-1)
                .index_fill(0, torch.tensor([0]), rng.choice((float("nan"), 1e38, -1.0)))
                .reshape(x.shape)
            )
        elif what == 7:
            found[f"{name}{rng.randrange(9)}"] = x.clone()
        else:
            found[name] = torch.zeros(*x.shape[:-1], rng.choice((0, 1, 2, 70))) if x.ndim else torch.zeros(2)
    return save({name: x.contiguous() for name, x in found.items()})


def graph(data: bytes, rng: Random) -> bytes:
    """ONNX: nodes, attributes, weights, inputs and outputs."""
    import onnx

    model = onnx.load_from_string(data)
    g = model.graph
    for _ in range(rng.choice((1, 1, 2, 3))):
        node, weight = rng.choice(g.node), rng.choice(g.initializer)
        what = rng.randrange(12)
        if what == 0:
            node.op_type = rng.choice(
                ("Relu", "Tanh", "Conv", "ConvTranspose", "Gemm", "MatMul", "Loop", "Nope", "Resize", "Add")
            )
        elif what == 1 and node.attribute:
            attribute = rng.choice(node.attribute)
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice((-1, 0, 1, 3, 10**6, 2**31, 2**62))
            else:
                attribute.i = rng.choice((-1, 0, 1, 2**31))
        elif what == 2:
            node.input[rng.randrange(len(node.input))] = rng.choice((*(n.output[0] for n in g.node), "z", "", "nope"))
        elif what == 3:
            node.output[0] = rng.choice(("x", "z", "", node.output[0] + "x"))
        elif what == 4 and weight.dims:
            weight.dims[rng.randrange(len(weight.dims))] = rng.choice((-1, 0, 1, 3, 10**6, 2**40, 2**62))
        elif what == 5:
            weight.data_type = rng.randrange(24)
        elif what == 6:
            weight.raw_data = anyhow(weight.raw_data, rng)
        elif what == 7:
            dims = rng.choice((*g.input, *g.output)).type.tensor_type.shape.dim
            if dims:
                rng.choice(dims).dim_value = rng.choice((-1, 0, 1, 7, 10**6, 2**62))
        elif what == 8:
            rng.choice((*g.input, *g.output)).type.tensor_type.elem_type = rng.randrange(20)
        elif what == 9:
            del g.node[rng.randrange(len(g.node))]
            if not g.node:
                break
        elif what == 10:
            weight.data_location = 1
            entry = weight.external_data.add()
            entry.key, entry.value = (
                "location",
                rng.choice(("../../etc/passwd", "/etc/passwd", "g.onnx", "", "x\n\x1b[1m")),
            )
            for key in rng.sample(("offset", "length"), rng.randrange(3)):
                more = weight.external_data.add()
                more.key, more.value = key, rng.choice(("-1", "0", "x", "9" * 30, "5"))
        else:
            model.opset_import[0].version = rng.choice((-1, 0, 1, 9, 17, 99, 2**31))
    return model.SerializeToString()


def archive(data: bytes, rng: Random) -> bytes:
    """A zip file with other members: names that lead elsewhere, twice the same, compressed, links, folders."""
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        members = [(info.filename, found.read(info), info.external_attr, 0) for info in found.infolist()]

    def inside(part: Any, rng: Random) -> Any:
        name, body, attributes, how = part
        what = rng.randrange(6)
        if what == 0:
            folder, _, file = name.rpartition("/")
            odd = (f"../{name}", f"/{name}", f"{folder}/../{file}", name.upper(), f"{folder}\\{file}", f".{name}", file)
            name = rng.choice(
                (
                    *odd,
                    f"{'n' * 300}.entry/{file}",
                    f"a\0b.entry/{file}",
                    f"\x1b[1m.entry/{file}",
                    f"{name}/",
                    f"../x.entry/{file}",
                )
            )
        elif what == 1:
            attributes = rng.choice((0o120777, 0o010666, 0o020666, 0o040755, 0o104755)) << 16
            body = rng.choice((body, b"/etc/passwd"))
        elif what == 2:
            how, body = zipfile.ZIP_DEFLATED, rng.choice((body, b"\0" * 3_000_000))
        elif what == 3:
            body = as_json(body, rng) if name.endswith(".json") else tensors(body, rng) if name.endswith("rs") else body
        else:
            body = anyhow(body, rng)
        return name, body, attributes, how

    out = io.BytesIO()
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as packed:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, body, attributes, how in _listed(members, rng, inside):
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = attributes, how
            packed.writestr(info, body)
    done = bytearray(out.getvalue())
    if rng.random() < 0.3:  # headers that lie about sizes
        at = done.find(rng.choice((b"PK\1\2", b"PK\3\4"))) + rng.choice((18, 20, 22, 24, 42))
        done[at : at + 4] = struct.pack("<I", rng.choice(NUMBERS) % 2**32)
    return bytes(done)


def bundle(files: Files, rng: Random) -> Files:
    """Manifest, tensors or both, and mostly the digest and size that go with them."""
    files = dict(files)
    if rng.random() < 0.55:
        files["manifest.json"] = as_json(files["manifest.json"], rng)
    else:
        files["tensors.safetensors"] = tensors(files["tensors.safetensors"], rng)
    if rng.random() < 0.05:
        del files[rng.choice(sorted(files))]
    elif rng.random() < 0.9:
        try:
            manifest = json.loads(files["manifest.json"])
            blob = files["tensors.safetensors"]
            manifest |= {"sha256": sha256(blob).hexdigest(), "bytes": len(blob)}
            files["manifest.json"] = json.dumps(manifest).encode()
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
    return files


PARTS: dict[str, Change] = {
    "PNG": png,
    "16-bit PNG": png,
    "JPEG": jpeg,
    "WebP": riff,
    "WAV": riff,
    "TIFF": tiff,
    "16-bit TIFF": tiff,
    "DICOM": dicom,
    "FLAC": flac,
    "MP3": frames,
    "Opus": ogg,
    "numbers": text,
    "rows": text,
    "table to train on": text,
    "journal": text,
    "ONNX": graph,
    "gallery file": archive,
}


def changed(reader: str, files: Files, rng: Random) -> Files:
    """One malformed input. Where a change would make no file of the kind at all, bytes are changed."""
    try:
        return _changed(reader, files, rng)
    except (ValueError, TypeError, IndexError, KeyError, RuntimeError, struct.error, OverflowError, zlib.error):
        name = rng.choice(sorted(files))
        return files | {name: anyhow(files[name], rng)}


def _changed(reader: str, files: Files, rng: Random) -> Files:
    if "manifest.json" in files:
        return bundle(files, rng)
    name = rng.choice(sorted(files))
    data = files[name]
    if rng.random() < 0.3:
        new = anyhow(data, rng)
    elif name.endswith(".safetensors"):
        new = tensors(data, rng)
    elif name.endswith(".json"):
        new = as_json(data, rng)
    else:
        new = PARTS.get(reader, anyhow)(data, rng)
    return files | {name: new}
