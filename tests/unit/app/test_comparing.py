"""Two models that share a decoder come out as one, and the card of an attributor says so."""

from pathlib import Path

import pytest
from toys import imprinting_generator, imprinting_samples

import morelli
from morelli.attribution.likeness import likeness
from morelli.errors import MismatchError, OutOfRange, TooFewSamples, UnreadableBundle
from morelli.numerics.equivalence import Relation

SPEC = morelli.SampleSpec((3, 32, 32))


@pytest.fixture(scope="module")
def attributor() -> morelli.Attributor:
    head = imprinting_generator(0).head(50)
    return morelli.train(head, imprinting_samples(200), rate=0.02, perturb=("none",))


@pytest.fixture
def samples(tmp_path: Path):
    def written(generator_seed: int) -> Path:
        folder = tmp_path / str(generator_seed)
        folder.mkdir()
        for i, sample in enumerate(imprinting_samples(40, 9, generator_seed)):
            morelli.write_image(sample, folder / f"{i:02d}.png", SPEC)
        return folder

    return written


def test_samples_of_the_same_decoder_are_not_told_apart(attributor: morelli.Attributor, samples) -> None:
    found = morelli.compare(attributor, samples(0))
    assert found.samples is not None
    assert found.samples.p_value > 0.01
    assert "indistinguishable to this attributor, as far as 40 samples show" in found.text


def test_samples_of_another_are(attributor: morelli.Attributor, samples) -> None:
    found = morelli.compare(attributor, samples(1))
    assert found.samples is not None
    assert found.samples.p_value < 1e-6
    assert found.samples.auroc > 0.95
    assert found.text.startswith("told apart")


def test_heads_on_disk(tmp_path: Path) -> None:
    for seed in (0, 1):
        morelli.save(imprinting_generator(seed).head(20), tmp_path / f"{seed}.head")
    same = morelli.compare(tmp_path / "0.head", tmp_path / "0.head")
    assert same.heads is not None
    assert same.heads.relation is Relation.LAST_LAYER
    assert "make both heads with `--whole`" in same.text
    other = morelli.compare(tmp_path / "0.head", tmp_path / "1.head")
    assert other.text.startswith("the last layers differ, by")
    assert other.to_dict()["heads"]["relation"] == "different"


def test_the_card_names_siblings_that_cannot_be_told_apart(tmp_path: Path) -> None:
    for name, seed in (("same", 0), ("other", 1)):
        morelli.save(imprinting_generator(seed).head(20), tmp_path / f"{name}.head")
    made = morelli.train(
        imprinting_generator(0).head(20),
        imprinting_samples(60),
        rate=0.05,
        perturb=("none",),
        siblings=[tmp_path / "same.head", tmp_path / "other.head"],
    )
    relations = {name: found["relation"] for name, found in made.card["siblings"].items()}
    assert relations == {"same.head": "same last layer", "other.head": "different"}
    (warning,) = [text for text in made.card["warnings"] if "head" in text]
    assert warning.startswith("same.head: the last layers are the same")
    assert warning.endswith("Its samples are attributed, too.")


def test_what_cannot_be_compared(attributor: morelli.Attributor, tmp_path: Path) -> None:
    head = imprinting_generator(0).head(20)
    with pytest.raises(MismatchError, match="give an attributor first"):
        morelli.compare(head, [tmp_path])
    with pytest.raises(MismatchError, match="not with its head"):
        morelli.compare(attributor, head)
    with pytest.raises(UnreadableBundle, match="no bundle"):
        morelli.compare(head, tmp_path / "none.head")
    with pytest.raises(OutOfRange, match="level"):
        morelli.compare(head, head, level=2)
    with pytest.raises(TooFewSamples, match="takes 20"):
        likeness(attributor, attributor.judge(imprinting_samples(5)))
