"""Coverage-guided fuzzing: PYTHONPATH=src:tests python tests/fuzz/atheris_readers.py TARGET [libFuzzer options]

`pip install 'morelli[fuzz]'`. Whatever is no MorelliError of one line stops it, and the input is written to a file. For
example `… PNG -max_total_time=180 -rss_limit_mb=2048 -timeout=10 corpus/`; the sound inputs are put into that folder.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["morelli.storage", "morelli.numerics", "PIL", "pydicom"]):
    import morelli.storage.audio
    import morelli.storage.bundle
    import morelli.storage.dicom
    import morelli.storage.gallery_folder
    import morelli.storage.images
    import morelli.storage.journal
    import morelli.storage.tables  # noqa: F401

from fuzz.readers import READERS
from fuzz.seeds import SEEDS, seeds_of
from fuzz.worker import put

from morelli.errors import MorelliError

TARGETS = [name for name in SEEDS if "manifest.json" not in seeds_of(name)[0]] + ["manifest", "tensors"]
BUNDLE = "attributor"
MEMBERS = {"manifest": "manifest.json", "tensors": "tensors.safetensors"}


def main() -> None:
    target = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if target not in TARGETS:
        sys.exit(f"give a target: {', '.join(TARGETS)}.")
    reader = BUNDLE if target in MEMBERS else target
    sound = seeds_of(reader)
    member = MEMBERS.get(target) or min(sound[0])
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    for folder in folders[:1]:
        folder.mkdir(parents=True, exist_ok=True)
        for i, files in enumerate(sound):
            if member in files and len(files[member]) < 2**16:
                (folder / f"sound{i}").write_bytes(files[member])
    place = Path(tempfile.mkdtemp(prefix="morelli-atheris."))

    def one(data: bytes) -> None:
        put(place / "in", sound[0] | {member: data})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                READERS[reader](place / "in")
        except MorelliError as error:
            assert str(error).isprintable()

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
