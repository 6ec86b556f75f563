"""Certificates and token keys made for one run."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: A certificate begins a little in the past, as clocks differ.
VALID = (datetime.timedelta(minutes=-5), datetime.timedelta(days=1))
NOT_YET_VALID = (datetime.timedelta(days=1), datetime.timedelta(days=2))
EXPIRED = (datetime.timedelta(days=-2), datetime.timedelta(days=-1))


@dataclasses.dataclass
class Pair:
    """A certificate with its key, as text and as files."""

    cert: str
    key: str
    cert_file: Path
    key_file: Path

    def source(self) -> dict[str, str]:
        """As the configuration of either implementation names it."""
        return {"type": "file", "cert": str(self.cert_file), "key": str(self.key_file)}


class Ca:
    """A certificate authority."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(self._name, self._key, VALID).issuer_name(self._name)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._cert = builder.sign(self._key, hashes.SHA256())
        self.pem = self._cert.public_bytes(serialization.Encoding.PEM).decode()
        self.file = folder / f"{name}.pem"
        self.file.write_text(self.pem)

    def source(self) -> dict[str, str]:
        """As the configuration of either implementation names it."""
        return {"type": "file", "path": str(self.file)}

    def server(
        self,
        *names: str,
        validity: tuple[datetime.timedelta, datetime.timedelta] = VALID,
        file: str = "server",
    ) -> Pair:
        """A node's certificate for these hosts and addresses."""
        return self._pair(file, ExtendedKeyUsageOID.SERVER_AUTH, names or ("127.0.0.1", "localhost"), validity)

    def client(self, name: str, validity: tuple[datetime.timedelta, datetime.timedelta] = VALID) -> Pair:
        """An application's certificate."""
        return self._pair(name, ExtendedKeyUsageOID.CLIENT_AUTH, (f"{name}.example",), validity)

    def _pair(
        self,
        file: str,
        usage: x509.ObjectIdentifier,
        names: tuple[str, ...],
        validity: tuple[datetime.timedelta, datetime.timedelta],
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)])
        builder = self._builder(subject, key, validity).issuer_name(self._name)
        builder = builder.add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        cert = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        pair = Pair(cert, private_pem(key), self._folder / f"{file}.pem", self._folder / f"{file}.key")
        # Who reads the files meanwhile sees the old ones or the new ones, never half of one.
        for path, text in ((pair.key_file, pair.key), (pair.cert_file, pair.cert)):
            replacement = path.with_suffix(path.suffix + ".new")
            replacement.write_text(text)
            replacement.replace(path)
        return pair

    @staticmethod
    def _builder(
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        validity: tuple[datetime.timedelta, datetime.timedelta],
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + validity[0])
            .not_valid_after(now + validity[1])
        )


class TokenKey:
    """A key for ES256 that signs the tokens of one application."""

    algorithm = "ES256"

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.private_pem = private_pem(self.key)

    def jwk(self) -> dict[str, str]:
        """The public half; its name is the subject that signs with it."""
        numbers = self.key.public_key().public_numbers()
        point = {axis: base64url(getattr(numbers, axis).to_bytes(32, "big")) for axis in ("x", "y")}
        return {"kty": "EC", "crv": "P-256", "alg": self.algorithm, "use": "sig", "kid": self.name, **point}

    def token(self, claims: dict, **header: str | None) -> str:
        """A token with these claims; entries of the header that are None are left out."""
        full = {"alg": self.algorithm, "typ": "JWT", "kid": self.name} | header
        signed = unsigned_token({name: value for name, value in full.items() if value is not None}, claims)
        r, s = utils.decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def public_pem(self) -> str:
        """The public half, as it is published."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(encoding, form).decode()

    def point(self) -> str:
        """The public half as the claim `pubkey` has it."""
        encoding, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        return base64.b64encode(self.key.public_key().public_bytes(encoding, form)).decode()


def unsigned_token(header: dict, claims: dict) -> str:
    """What is signed of a token."""
    return ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))


def key_set(*keys: TokenKey) -> str:
    """The public halves as a JWKS."""
    return json.dumps({"keys": [key.jwk() for key in keys]})


def base64url(data: bytes) -> str:
    """Without padding, as in tokens."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """PKCS#8, not encrypted."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def general_name(name: str) -> x509.GeneralName:
    """An address or a host."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
