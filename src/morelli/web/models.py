"""The answers, as the specification declares them. Reports may say more than is declared here, never less."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from morelli.attribution.report import SCHEMA

P_VALUE = Field(description="Share of the model's own samples that are at least this unlike it.", examples=[0.41])
SCORE = Field(description="Higher: less like the model.", examples=[-0.62])


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Problem(BaseModel):
    """Why there is no result."""

    error: str = Field(description="One word, for programs.", examples=["busy"])
    message: str = Field(description="A sentence, for people.", examples=["64 requests are waiting already."])


class Verdict(_Open):
    """Of one picture, window of sound or row of a table."""

    file: str = Field(description="Name of the upload.", examples=["suspect.png"])
    row: int | None = Field(description="Of a table or sound, from 0.", examples=[None])
    outcome: Literal["attributed", "not attributed", "inconclusive"]
    score: float | None = SCORE
    p_value: float | None = P_VALUE
    reason: str = Field(description="Why it is inconclusive, else empty.", examples=[""])
    notes: dict[str, Any] = Field(examples=[{"condition": "none"}])
    likelihood_ratio: dict[str, Any] | None = Field(
        description="`log10`, `words`, `condition` and `false_attribution`, where a population was declared.",
        examples=[None],
    )
    facts: dict[str, Any] = Field(
        description="Of the file: `sha256`, `format`, `size`, …", examples=[{"format": "PNG"}]
    )


class Refused(_Open):
    """A file that is no sample, and why."""

    file: str = Field(examples=["notes.txt"])
    reason: str = Field(examples=["notes.txt starts with 68 65 6c 6c 6f, no known format."])


class Report(_Open):
    """What `morelli attribute --json` prints; files are named as the uploads were."""

    schema_: int = Field(alias="schema", description="Version of this form.", examples=[SCHEMA])
    attributor: dict[str, Any] = Field(examples=[{"name": "my.attributor", "rate": 0.005}])
    summary: dict[str, int] = Field(examples=[{"attributed": 1, "not attributed": 0, "inconclusive": 0, "refused": 0}])
    verdicts: list[Verdict]
    refused: list[Refused]
    limits: str = Field(description="What this does not prove.")


class Candidate(_Open):
    """A model of the gallery, as one sample sees it."""

    name: str = Field(examples=["sdxl"])
    score: float = SCORE
    p_value: float | None = P_VALUE


class Identified(_Open):
    """Of one picture, or of all together."""

    file: str = Field(examples=["suspect.png"])
    identified: str | None = Field(description="The model, or null: none of these.", examples=["sdxl"])
    p_value: float | None = Field(description="Of the proposition that it is none of these.", examples=[0.012])
    candidates: list[Candidate] = Field(description="Most alike first.")
    predicted: list[Candidate] = Field(description="Known from weights alone, without a p-value.")
    facts: dict[str, Any]


class Identification(_Open):
    """What `morelli identify --json` prints."""

    schema_: int = Field(alias="schema", examples=[SCHEMA])
    gallery: dict[str, Any] = Field(examples=[{"name": "my.gallery", "entries": 5}])
    samples: list[Identified]
    refused: list[Refused]
    limits: str


class Scores(BaseModel):
    """Held-out own scores, counted in bins of equal width."""

    least: float
    most: float
    counts: list[int]
    threshold: float = Field(description="The largest score that is still attributed.")


class Attributor(_Open):
    name: str = Field(examples=["my.attributor"])
    digest: str
    method: str | None = Field(examples=["imprint"])
    promise: str = Field(description="How often its own samples are rejected.")
    rate: float = Field(examples=[0.005])
    held_out: int = Field(examples=[300])
    reads: dict[str, Any] = Field(examples=[{"kind": "picture", "formats": ["PNG"], "shape": [3, 64, 64]}])
    scores: dict[str, Scores] = Field(description="By condition; an empty name where there is one.")


class Attributors(BaseModel):
    attributors: list[Attributor] = Field(description="The first is used where none is named.")


class Model(BaseModel):
    name: str = Field(examples=["sdxl"])
    samples: int | str | None = Field(examples=[10])
    formats: dict[str, int]
    sizes: dict[str, int]
    made: str | None
    predicted: bool = Field(description="Known from weights alone.")


class Gallery(BaseModel):
    name: str = Field(examples=["my.gallery"])
    rate: float = Field(description="Unknown models are taken for a known one at most so often.", examples=[0.05])
    models: list[Model]


class Allowed(BaseModel):
    """What one client may send."""

    max_bytes: int
    max_files: int
    max_pixels: int
    max_rows: int
    time_limit: float
    queue: int
    rate_limit: int


class Server(BaseModel):
    attributors: list[str] = Field(description="Their names; the first is used where none is given.")
    gallery: str | None
    pdf: bool = Field(description="Whether reports are made as PDF, too.")
    limits: Allowed


class Health(BaseModel):
    status: str = Field(examples=["ok"])
    version: str
    token: bool = Field(description="Whether everything else asks for one.")
