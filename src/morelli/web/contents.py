"""What an upload is, by its content alone. Names and declared types are the client's word and are not asked."""

from __future__ import annotations

import re

FIRST = 512  # bytes that decide
JSON = re.compile(rb"(\xef\xbb\xbf)?\s*(\{|\[\s*([\[{\"\d\]-]|true|false|null))")
ARCHIVES = {
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "a ZIP archive",
    b"PK\x07\x08": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"GGUF": "a GGUF model",
    b"\x7fELF": "a program",
    b"\xcf\xfa\xed\xfe": "a program",
    b"\xce\xfa\xed\xfe": "a program",
    b"\xca\xfe\xba\xbe": "a program",
    b"#!": "a program",
}
LARGEST_HEADER = 100_000_000  # of safetensors, as that format has it


def unwanted(first: bytes) -> str:
    """What it is, in words, where the first bytes are those of a bundle, a model, an archive or a program; else ""."""
    for magic, name in ARCHIVES.items():
        if first.startswith(magic):
            return name
    if first[:2] == b"MZ" and b"\0" in first:  # else a table whose first column is called that
        return "a program"
    if JSON.match(first):
        return "JSON"
    if first[8:9] == b"{" and int.from_bytes(first[:8], "little") <= LARGEST_HEADER:
        return "a safetensors file"
    if first[:1] == b"\x80" and first[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "a Python pickle"
    if first[257:262] == b"ustar":
        return "a tar archive"
    return ""
