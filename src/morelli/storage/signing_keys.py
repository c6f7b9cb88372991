"""Keys that sign and verify: Ed25519, or ECDSA on P-256 with SHA-256, in PEM.

Both sign without chance (ECDSA by RFC 6979), so that the same message and key give the same bytes. ECDSA signatures are
in DER, as openssl and sigstore have them. A key's id is the SHA-256 of its public part in DER (SubjectPublicKeyInfo).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from morelli.errors import MorelliError, UnsuitableKey

KINDS = "expected Ed25519 or ECDSA P-256 in PEM"


def is_locked(private_key: bytes) -> bool:
    """Whether reading this PEM file takes a passphrase."""
    return b"ENCRYPTED" in private_key


def private_key_in(pem: bytes, passphrase: str | None) -> Any:
    serialization = _library()
    if is_locked(pem) and passphrase is None:
        raise UnsuitableKey("the key is locked; expected its passphrase. Set MORELLI_KEY_PASSPHRASE.")
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode() if passphrase and is_locked(pem) else None)
    except Exception as error:  # nearly every kind, by what is wrong
        why = "or the passphrase is wrong" if is_locked(pem) else "maybe a public one"
        raise UnsuitableKey(f"the private key cannot be read ({why}); {KINDS}.") from error
    _refuse_other(key.public_key())
    return key


def public_key_in(pem: bytes) -> Any:
    serialization = _library()
    try:
        if b"BEGIN CERTIFICATE" in pem:
            from cryptography.x509 import load_pem_x509_certificate

            key: Any = load_pem_x509_certificate(pem).public_key()
        else:
            key = serialization.load_pem_public_key(pem)
    except Exception as error:
        raise UnsuitableKey(f"the public key cannot be read (maybe a private one); {KINDS}.") from error
    _refuse_other(key)
    return key


def _refuse_other(key: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(key, ed25519.Ed25519PublicKey):
        return
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise UnsuitableKey(f"the key is a {type(key).__name__.strip('_')}; {KINDS}. See docs/provenance.md.")


def signature_of(key: Any, message: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return bytes(key.sign(message, _ecdsa(deterministic_signing=True)))


def verifies(key: Any, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ed25519

    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        else:
            key.verify(signature, message, _ecdsa())
    except InvalidSignature:
        return False
    return True


def _ecdsa(**settings: bool) -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(hashes.SHA256(), **settings)


def id_of(key: Any) -> str:
    serialization = _library()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(der).hexdigest()


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except Exception as error:  # a broken installation raises nearly anything
        raise MorelliError("signing takes the library cryptography. `pip install 'morelli[sign]'`.") from error
    return serialization
