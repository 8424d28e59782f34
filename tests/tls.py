"""TLS on loopback: a certificate authority of our own, and servers that it answers for."""

import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ADDRESS = "127.0.0.1"
_DAY = timedelta(days=1)


def name(text: str) -> x509.Name:
    """Return a subject that is called so."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Authority:
    """An authority with its key; it is trusted by nobody but whoever is told its `pem`."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, subject: x509.Name | None = None) -> Self:
        """Return a new one."""
        subject, key = subject or name("An authority of tests"), ec.generate_private_key(ec.SECP256R1())
        built = (
            _builder(subject, subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(*[index == 5 for index in range(9)]), critical=True)  # to sign certificates
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(built.sign(key, hashes.SHA256()), key)

    @property
    def pem(self) -> str:
        """Return its certificate."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def server(self) -> str:
        """Return a certificate and its key, with which a server on loopback proves itself, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.IPAddress(ipaddress.ip_address(ADDRESS)), x509.DNSName("localhost")]
        built = _builder(name(ADDRESS), self.certificate.subject, key)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = built.add_extension(issuer, critical=False).sign(self.key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return (certificate.public_bytes(Encoding.PEM) + private).decode()

    def context(self) -> ssl.SSLContext:
        """Return what a server on loopback is wrapped in."""
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "server.pem"
            kept.write_text(self.server())
            return server_context(kept)


def server_context(pem: Path) -> ssl.SSLContext:
    """Return what a server is wrapped in that proves itself with that file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )
