"""What is answered in place of a result: a status, a word for programs, a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class Refusal(Exception):
    """Attributes:
    status: of HTTP. error: one word, see `STATUSES`. retry_after: seconds, where trying again may help.
    """

    status: int
    error: str
    message: str
    retry_after: int | None = None

    def to_dict(self) -> dict[str, str]:
        return {"error": self.error, "message": self.message}


STATUSES = {  # with what each means, for the specification
    400: "The body is not well-formed multipart/form-data.",
    401: "A token is needed, or it is another one.",
    403: "The request comes from another site's page.",
    404: "There is no such attributor, or no gallery.",
    408: "The upload took too long.",
    413: "Too many bytes, or too many files.",
    415: "The body is not multipart/form-data.",
    421: "This server does not answer to that host name.",
    422: "A parameter is wrong, or no file was sent.",
    429: "Too many files from this client; Retry-After says when to go on.",
    500: "The worker failed; nothing was judged.",
    503: "The queue is full, or the server is closing.",
    504: "Judging took longer than the time limit.",
}
