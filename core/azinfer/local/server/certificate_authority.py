"""The local certificate authority: created once, kept by its owner, valid for loopback only.

It can sign only for localhost and loopback addresses, so trusting it is safe
even if its key is stolen. Source: RFC 5280, section 4.2.1.10 (name constraints).
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from azinfer.core.errors import InferenceError
from azinfer.local.file_lock import lock_folder

_LIFE = datetime.timedelta(days=3650)
# Of a server's certificate; an authority with less time left is replaced.
_SERVER_LIFE = datetime.timedelta(days=397)
_HOUR = datetime.timedelta(hours=1)
_NAME = "azinfer local authority"
_HOSTS = [x509.DNSName("localhost")]
_ADDRESSES = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
_NETWORKS = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Authority:
    """The certificate authority of a folder.

    Its key never leaves `authority.pem`, which only its owner may read.

    Args:
        folder: The folder of its files; it is created there if it is missing or expires soon.
        now: Returns the time, with its zone.

    Attributes:
        ca_file: The file for clients: the authorities of certifi and this one.

    Raises:
        InferenceError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, now: Callable[[], datetime.datetime] | None = None) -> None:
        self._now = now or (lambda: datetime.datetime.now(datetime.UTC))
        self.ca_file = folder / "ca-bundle.pem"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with lock_folder(folder):
                self._key, self._certificate = self._read_or_make(folder / "authority.pem")
                bundle = Path(certifi.where()).read_bytes() + b"\n" + _pem(self._certificate)
                if not self.ca_file.exists() or self.ca_file.read_bytes() != bundle:
                    _write(self.ca_file, bundle, 0o644)
        except OSError as error:
            raise InferenceError(
                f"the certificates of https cannot be kept in {folder}: "
                f"{error.strerror or error}; set AZINFER_DATA to another folder"
            ) from None

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS settings of a server on this machine, with a new certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [*_HOSTS, *map(x509.IPAddress, _ADDRESSES)]
        certificate = (
            self._builder("azinfer local endpoint", key, _SERVER_LIFE)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # OpenSSL only reads files; this one is deleted at once.
        with tempfile.TemporaryDirectory(prefix="azinfer-") as name:
            path = Path(name) / "server.pem"
            _write(path, _private_pem(key) + _pem(certificate), 0o600)
            context.load_cert_chain(path)
        return context

    def _read_or_make(self, path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """Return the key and the certificate of a file, which is created if necessary."""
        pair = _read(path)
        if pair is None or pair[1].not_valid_after_utc - self._now() < _SERVER_LIFE + _HOUR:
            pair = self._make()
            _write(path, _private_pem(pair[0]) + _pem(pair[1]), 0o600)
        return pair

    def _make(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_NAME, key, _LIFE)
        allowed = [*_HOSTS, *map(x509.IPAddress, _NETWORKS)]
        certificate = (
            builder.issuer_name(_x509_name(_NAME))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(
                x509.NameConstraints(permitted_subtrees=allowed, excluded_subtrees=None),
                critical=True,
            )
            .sign(key, hashes.SHA256())
        )
        return key, certificate

    def _builder(
        self, name: str, key: ec.EllipticCurvePrivateKey, life: datetime.timedelta
    ) -> x509.CertificateBuilder:
        now = self._now()
        return (
            x509.CertificateBuilder()
            .subject_name(_x509_name(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _HOUR)
            .not_valid_after(now + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )


def _x509_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in uses for name in _USES})


def _read(path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None:
    """Return the key and the certificate of a file; None if it is missing or incomplete."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        data = path.read_bytes()
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
        if isinstance(key, ec.EllipticCurvePrivateKey) and (
            key.public_key() == certificate.public_key()
        ):
            return key, certificate
    return None


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file atomically, so that nobody reads half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
