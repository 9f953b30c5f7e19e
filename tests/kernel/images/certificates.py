"""Keys and certificates of the tests' own, and tokens that they sign as docker's token servers do (RFC 7519, x5c)."""

from __future__ import annotations

import base64
import datetime
import json
import time
import uuid
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class Authority:
    """A self-signed certificate for ``name``, with its key, as files of one directory."""

    def __init__(self, home: Path, name: str) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(self.key.public_key())
        builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self.certificate = builder.sign(self.key, hashes.SHA256())
        self.certificate_file, self.key_file = home / f"{name}.pem", home / f"{name}.key"
        self.certificate_file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.key_file.write_bytes(self.key.private_bytes(pem, form, serialization.NoEncryption()))

    def token(self, issuer: str, service: str, scope: str) -> str:
        """``scope``: "repository:team/app:pull"."""
        kind, name, actions = scope.split(":")
        chain = base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()
        now = int(time.time())
        claims = {"iss": issuer, "sub": "", "aud": service, "exp": now + 300, "nbf": now - 10, "iat": now,
                  "jti": uuid.uuid4().hex, "access": [{"type": kind, "name": name, "actions": actions.split(",")}]}  # fmt: skip
        parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "RS256", "x5c": [chain]}, claims)]
        signed = b".".join(map(_unpadded, parts))
        return (signed + b"." + _unpadded(self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))).decode()


def _unpadded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
