"""Signatures on bytes: a DSSE envelope around a statement, by an Ed25519 or ECDSA P-256 key in PEM.

Source: DSSE v1.0 (secure-systems-lab/dsse), protocol and envelope.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from morelli.errors import MismatchError, MorelliError
from morelli.storage.signing_keys import id_of, private_key_in, public_key_in, signature_of, verifies

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class Envelope:
    """A payload, its type, and (key id, signature) pairs; nothing is verified yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]


def encode(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding, which no other pair of type and payload shares."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, private_key: bytes, passphrase: str | None = None) -> bytes:
    """An envelope as JSON, with one signature.

    Args:
        private_key: the content of a PEM file.
    Raises:
        UnsuitableKey: of another kind, damaged, or locked by another passphrase.
        MorelliError: the library is missing.
    """
    key = private_key_in(private_key, passphrase)
    signature = signature_of(key, encode(PAYLOAD_TYPE, payload))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": id_of(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }
    return (json.dumps(envelope, indent=1) + "\n").encode()


def read_envelope(data: bytes) -> Envelope:
    """Raises MorelliError for anything else."""
    try:
        found = json.loads(data)
        signatures = tuple((str(each.get("keyid") or ""), _decoded(each["sig"])) for each in found["signatures"])
        return Envelope(str(found["payloadType"]), _decoded(found["payload"]), signatures)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MorelliError(
            f"the signature is no DSSE envelope ({type(error).__name__}); expected the file that `morelli sign` wrote."
        ) from error


def payload_of(envelope: Envelope, public_key: bytes) -> bytes:
    """The payload, once a signature of this key over it was verified.

    Args:
        public_key: the content of a PEM file, of a public key or a certificate (whose dates and issuer count nothing).
    Raises:
        MismatchError: no signature is by this key, or the envelope was altered.
        UnsuitableKey: not such a file.
    """
    key = public_key_in(public_key)
    signed = encode(envelope.payload_type, envelope.payload)
    if any(verifies(key, signature, signed) for _, signature in envelope.signatures):
        return envelope.payload
    given = id_of(key)
    named = [name for name, _ in envelope.signatures]  # a hint, which is why it only words the refusal
    if given in named:
        raise MismatchError("the envelope names this key, but its signature does not fit: it was altered.")
    shown = ", ".join(name[:64] for name in named if name) or "none named"
    raise MismatchError(f"no signature is by the key given (id {given}); it was signed by another (id {shown}).")


def _decoded(text: str) -> bytes:
    """Either alphabet of base64, as DSSE asks of those who verify."""
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
