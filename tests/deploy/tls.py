"""Certificates for tests of TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Certificates(NamedTuple):
    """Files for TLS: the authority, the server's certificate and key, a client's."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    stranger: Path
    stranger_key: Path


def make_certificates(root: Path) -> Certificates:
    """Write an authority of this test, with a server and a client, and a client of nobody."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("test authority", authority_key, None, None)
    (root / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name, issuer in (("server", authority), ("client", authority), ("stranger", None)):
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(name, key, issuer, authority_key if issuer is not None else None)
        (root / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (root / f"{name}.key").write_bytes(encoded)
    return Certificates(
        root / "authority.pem",
        *(root / f"{name}.{kind}" for name in ("server", "client", "stranger") for kind in ("pem", "key")),
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey | None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return builder.sign(issuer_key or key, hashes.SHA256())


def trusting(certificates: Certificates, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """TLS of a client that trusts the authority of this test, and may have a certificate."""
    context = ssl.create_default_context(cafile=str(certificates.authority))
    if client is not None:
        context.load_cert_chain(*client)
    return context
