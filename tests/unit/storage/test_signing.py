"""DSSE against its specification, openssl as a second opinion, and what is not accepted."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="needs the extra sign")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils

from morelli.errors import MismatchError, MorelliError, UnsuitableKey
from morelli.storage.signing import encode, payload_of, read_envelope, seal
from morelli.storage.signing_keys import signature_of

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
BODY = b'{"a": 1}'


def private(key: object, passphrase: bytes = b"") -> bytes:
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, lock)


def public(key: object) -> bytes:
    return key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def ed25519_key(seed: int = 1) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def p256_key(seed: int = 1) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(seed, ec.SECP256R1())


def test_the_example_of_the_specification() -> None:
    signed = encode("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    key = p256_key(97358161215184420915383655311931858321456579547487070936769975997791359926199)
    r, s = utils.decode_dss_signature(signature_of(key, signed))
    assert base64.b64encode(r.to_bytes(32) + s.to_bytes(32)) == (
        b"A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    )


def test_lengths_are_of_bytes() -> None:
    assert encode("ä", "ö€".encode()) == "DSSEv1 2 ä 5 ö€".encode()


@pytest.mark.parametrize("key", [ed25519_key(), p256_key()], ids=["ed25519", "p256"])
def test_what_was_sealed_is_found_again_and_always_the_same(key) -> None:
    sealed = seal(BODY, private(key))
    assert payload_of(read_envelope(sealed), public(key)) == BODY
    assert seal(BODY, private(key)) == sealed
    assert seal(BODY, private(key, b"word"), "word") == sealed
    assert seal(BODY, private(key), "unneeded") == sealed


@pytest.mark.parametrize("key", [ed25519_key(), p256_key()], ids=["ed25519", "p256"])
def test_openssl_agrees(key, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    envelope = read_envelope(seal(BODY, private(key)))
    content = encode(envelope.payload_type, envelope.payload)
    for name, data in (("key", public(key)), ("sig", envelope.signatures[0][1]), ("said", content)):
        (tmp_path / name).write_bytes(data)
    hashed = [] if isinstance(key, ed25519.Ed25519PrivateKey) else ["-digest", "sha256"]
    words = [
        openssl,
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key",
        "-rawin",
        "-in",
        "said",
        "-sigfile",
        "sig",
        *hashed,
    ]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / "said").write_bytes(content + b" ")
    assert subprocess.run(words, cwd=tmp_path, capture_output=True).returncode != 0


def altered(sealed: bytes, **changes: object) -> bytes:
    return json.dumps(json.loads(sealed) | changes).encode()


@pytest.mark.parametrize("key", [ed25519_key(), p256_key()], ids=["ed25519", "p256"])
def test_alterations_are_named(key) -> None:
    sealed = seal(BODY, private(key))
    other = base64.b64encode(b'{"a": 2}').decode()
    signature = json.loads(sealed)["signatures"][0]
    broken = signature | {"sig": base64.b64encode(b"\1" * 64).decode()}
    for changes in ({"payload": other}, {"payloadType": "text/plain"}, {"signatures": [broken]}):
        with pytest.raises(MismatchError, match="was altered"):
            payload_of(read_envelope(altered(sealed, **changes)), public(key))
    with pytest.raises(MismatchError, match="signed by another"):
        payload_of(read_envelope(sealed), public(ed25519_key(2)))
    with pytest.raises(MismatchError, match="none named"):
        payload_of(read_envelope(altered(sealed, signatures=[])), public(key))


def test_the_id_of_a_key_decides_nothing() -> None:
    sealed = seal(BODY, private(ed25519_key()))
    claimed = json.loads(seal(BODY, private(ed25519_key(2))))["signatures"][0]["keyid"]
    signature = json.loads(sealed)["signatures"][0]
    forged = altered(sealed, signatures=[signature | {"keyid": claimed}])
    assert payload_of(read_envelope(forged), public(ed25519_key())) == BODY
    with pytest.raises(MismatchError):
        payload_of(read_envelope(forged), public(ed25519_key(2)))


def test_several_signatures_and_either_alphabet() -> None:
    first, second = (json.loads(seal(BODY * 9, private(key))) for key in (ed25519_key(), p256_key()))
    signatures = [{"sig": each["signatures"][0]["sig"].replace("+", "-").replace("/", "_")} for each in (first, second)]
    both = read_envelope(altered(json.dumps(first).encode(), signatures=signatures))
    for key in (ed25519_key(), p256_key()):
        assert payload_of(both, public(key)) == BODY * 9


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"payload": 1, "payloadType": "", "signatures": []}',
        b'{"payload": "?", "payloadType": "", "signatures": []}',
        b'{"payload": "", "payloadType": "", "signatures": [3]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(MorelliError, match="no DSSE envelope"):
        read_envelope(data)


def test_keys_that_do_not_serve() -> None:
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(UnsuitableKey, match="expected Ed25519 or ECDSA P-256"):
            seal(BODY, private(key))
        with pytest.raises(UnsuitableKey, match="expected Ed25519 or ECDSA P-256"):
            payload_of(read_envelope(seal(BODY, private(ed25519_key()))), public(key))
    locked = private(ed25519_key(), b"word")
    with pytest.raises(UnsuitableKey, match="passphrase"):
        seal(BODY, locked)
    with pytest.raises(UnsuitableKey, match="the passphrase is wrong"):
        seal(BODY, locked, "another")
    with pytest.raises(UnsuitableKey, match="maybe a public one"):
        seal(BODY, public(ed25519_key()))
    with pytest.raises(UnsuitableKey, match="maybe a private one"):
        payload_of(read_envelope(seal(BODY, private(ed25519_key()))), private(ed25519_key()))
    with pytest.raises(UnsuitableKey):
        seal(BODY, b"nonsense")


def test_a_certificate_serves_as_public_key() -> None:
    from certificates import chain

    signer = chain()
    assert payload_of(read_envelope(seal(BODY, signer.key)), signer.certificates) == BODY


def test_without_the_library_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pem = private(ed25519_key())
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(MorelliError, match=r"pip install 'morelli\[sign\]'"):
        seal(BODY, pem)
