"""Tar archives and Parquet files: every sample once, and whatever is meant to deceive refused under its name."""

import io
import struct
import tarfile
from pathlib import Path

import pytest

from morelli.errors import UnreadableSample
from morelli.storage.samples import Limits
from morelli.storage.shards import Contents, Item, items

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402


def member(name: str, data: bytes = b"", **settings: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in settings.items():
        setattr(info, key, value)
    return info, data


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def read(path: Path, column: str | None = None, limits: Limits | None = None) -> dict[str, bytes | str]:
    """Content by name, or the reason why not."""
    contents, found = Contents(limits or Limits()), {}
    for item in items([path], column, limits or Limits()):
        assert item.name not in found
        try:
            data = contents.of(item)
        except UnreadableSample as error:
            data = str(error)
            assert data.isprintable()
        assert data is not None
        found[item.name.removeprefix(f"{path}")] = data
    return found


def test_members_of_a_webdataset(tmp_path: Path) -> None:
    long = "deep/" * 30 + "name.png"
    path = tar(
        tmp_path / "s.tar",
        member("./0.png", b"zero"),
        member("0.json", b"{}"),
        member("0.cls", b"3"),
        member("folder", type=tarfile.DIRTYPE),
        member("folder/1.JPG", b"one"),
        member("folder/.cache", b"x"),
        member(long, b"two"),
    )
    assert read(path) == {"/0.png": b"zero", "/folder/1.JPG": b"one", f"/{long}": b"two"}


def test_what_a_hostile_archive_holds_is_refused_by_name(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "s.tar",
        member("../../etc/passwd", b"x"),
        member("/etc/shadow", b"x"),
        member("a/../../b.png", b"x"),
        member("link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard.png", type=tarfile.LNKTYPE, linkname="good.png"),
        member("device", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
        member("pipe", type=tarfile.FIFOTYPE),
        member("large.png", b"x" * 101),
        member("empty.png"),
        member("new\nline.png", b"fine"),
        member("good.png", b"good"),
    )
    found = read(path, limits=Limits(max_bytes=100))
    assert found.pop("/new\nline.png") == b"fine"
    assert found.pop("/good.png") == b"good"
    words = {"etc": "points out", "b.png": "points out", "large.png": "limit is 100", "empty.png": "is empty"}
    assert len(found) == 9
    for name, why in found.items():
        assert isinstance(why, str)
        assert next((w for key, w in words.items() if key in name), "link, a device") in why


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    block = bytearray(struct.pack("100s8s8s8s12s12s8s1s", name, b"644", b"0", b"0", size, b"0", b" " * 8, kind))
    block += b"\0" * (512 - len(block))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (b"", "no end"),
        (b"garbage" * 100, "no end"),
        (header(b"b.png", b"%011o" % 5000) + b"short", "damaged"),
        (header(b"b.png", b"\xff" * 11 + b"\0"), "damaged"),  # a negative size, which would lead back
        (header(b"b.png", b"\x80" + b"\x7f" * 11), "limit"),
        (header(b"x", b"%011o" % (2**31), b"x") + b"1 path", "a header of"),  # a name of two gigabytes
        (header(b"x", b"%011o" % (2**31), b"L") + b"long", "a header of"),
    ],
)
def test_a_damaged_archive_gives_what_is_whole_and_says_so(tmp_path: Path, tail: bytes, words: str) -> None:
    path = tmp_path / "s.tar"
    path.write_bytes(header(b"a.png", b"%011o" % 3) + b"one".ljust(512, b"\0") + tail)
    found = read(path)
    assert found.pop("/a.png") == b"one"
    assert any(isinstance(why, str) and words in why for why in found.values())


def test_a_member_cut_short_is_refused_rather_than_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    path.write_bytes(header(b"rows.csv", b"%011o" % 900) + b"1,2\n" * 150)
    found = read(path)
    assert "rows.csv cannot be read (EOFError: 600 of 900 bytes)" in str(found["/rows.csv"])


def test_no_archive_at_all(tmp_path: Path) -> None:
    for data in (b"", b"no archive", b"\0" * 2000):
        (tmp_path / "s.tar").write_bytes(data)
        found = read(tmp_path / "s.tar")
        assert all("damaged" in why for why in found.values())
        assert bool(found) != (data == b"\0" * 2000)  # an empty archive is one


def put(path: Path, columns: dict[str, object], **settings: object) -> Path:
    parquet.write_table(pa.table(columns), path, **settings)
    return path


def test_rows_of_parquet(tmp_path: Path) -> None:
    values = [f"image {i}".encode() for i in range(50)]
    plain = put(tmp_path / "p.parquet", {"label": list(range(50)), "png": values}, row_group_size=7)
    assert read(plain) == {f"/{i}": value for i, value in enumerate(values)}
    hugging = [{"bytes": value, "path": f"{i}.png"} for i, value in enumerate(values)]
    struct_ = put(tmp_path / "h.parquet", {"image": hugging, "text": ["a"] * 50}, row_group_size=16)
    assert list(read(struct_).values()) == values
    rows, contents = list(items([struct_])), Contents()
    assert [contents.of(rows[i]) for i in (40, 3, 3, 17, 16)] == [values[i] for i in (40, 3, 3, 17, 16)]


def test_which_column(tmp_path: Path) -> None:
    two = put(tmp_path / "t.parquet", {"a": [b"x"], "b": [{"bytes": b"y", "path": None}], "c": [1]})
    assert "a, b; expected one. Name it (`--column`)" in str(read(two)[""])
    assert read(two, "b") == {"/0": b"y"}
    assert "'c' of bytes; it has: a, b" in str(read(two, "c")[""])
    assert "none" in str(read(put(tmp_path / "n.parquet", {"c": [1]}))[""])


def test_hostile_parquet(tmp_path: Path) -> None:
    holes = put(tmp_path / "h.parquet", {"x": [b"one", None, b"", b"large" * 9]})
    found = read(holes, limits=Limits(max_bytes=20))
    assert found["/0"] == b"one"
    assert all("is empty" in str(found[f"/{i}"]) for i in (1, 2))
    assert "limit is 20" in str(found["/3"])
    whole = holes.read_bytes()
    for data in (b"", b"PAR1", whole[:-9], whole[: len(whole) // 2]):
        holes.write_bytes(data)
        assert "damaged" in str(read(holes)[""])
    many = put(tmp_path / "m.parquet", {"x": [b"a"] * 100_000})
    assert "more than it has bytes" in str(read(many)[""])


def test_a_shard_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "p.parquet", {"x": [b"one", b"two"]})
    first, second = items([path])
    put(path, {"x": [b"one"]})
    assert Contents().of(first) == b"one"
    with pytest.raises(UnreadableSample, match="is gone"):
        Contents().of(second)
    path.unlink()
    with pytest.raises(UnreadableSample, match="cannot be read"):
        Contents().of(first)
    assert Contents().of(Item("given", data=b"x")) == b"x"
