"""A certificate authority and a signer of C2PA manifests that live for one test run."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff"}
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@dataclass(frozen=True)
class Chain:
    """A root, and a certificate of its own for one signer."""

    root: str
    certificates: bytes
    key: bytes


def chain() -> Chain:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    root = _certificate("Toy root", keys[0], "Toy root", keys[0], authority=True)
    leaf = _certificate("Toy signer", keys[1], "Toy root", keys[0], authority=False)
    secret = keys[1].private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Chain(root.public_bytes(PEM).decode(), leaf.public_bytes(PEM) + root.public_bytes(PEM), secret)


def with_manifest(
    picture: bytes,
    kind: str,
    signer: Chain,
    source: str = "digitalCapture",
    *,
    parent: bytes = b"",
    remote: str = "",
    **action: Any,
) -> bytes:
    """The picture with a C2PA manifest that one generator signed; with `remote`, with the address of one."""
    import c2pa

    done = {"action": "c2pa.edited" if parent else "c2pa.created", "digitalSourceType": SOURCE + source} | action
    manifest = {
        "claim_generator_info": [{"name": "Toy Generator", "version": "1.0"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [done]}}],
    }
    out = io.BytesIO()
    secret = c2pa.C2paSignerInfo(b"es256", signer.certificates, signer.key, None)
    with c2pa.Context(c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}})) as context:
        builder = c2pa.Builder(manifest, context)
        if parent:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            builder.add_ingredient({"title": "before", "relationship": "parentOf"}, MIME[kind], io.BytesIO(parent))
        if remote:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        builder.sign(c2pa.Signer.from_info(secret), MIME[kind], io.BytesIO(picture), out)
    return out.getvalue()


def _certificate(name: str, key: Any, issuer: str, its_key: Any, *, authority: bool) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage |= {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.KeyUsage(**usage), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(its_key.public_key()), False)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return builder.sign(its_key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    said = ((NameOID.COUNTRY_NAME, "XX"), (NameOID.ORGANIZATION_NAME, "Toys"), (NameOID.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in said])
