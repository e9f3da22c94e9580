"""A certificate authority for one test cluster, and what it signs."""

import datetime
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
LIFETIME = datetime.timedelta(days=30)


class Authority:
    """Signs certificates into one folder: `<name>.crt` beside `<name>.key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, mode=0o700)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "penstock-test")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self._write("ca", self._key, builder.sign(self._key, hashes.SHA256()))

    def sign(
        self,
        name: str,
        user: str,
        groups: tuple[str, ...] = (),
        addresses: tuple[str, ...] = (),
        services: tuple[str, ...] = (),
    ) -> None:
        """A certificate by which `user` is known, and which serves `addresses` where any are given, and `services`."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = self._builder(subject, key).add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if addresses:
            names: list[x509.GeneralName] = [x509.DNSName(known) for known in (*SERVER_NAMES, *services)]
            names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        self._write(name, key, builder.sign(self._key, hashes.SHA256()))

    def kubeconfig(self, name: str, server: str) -> Path:
        """Writes `<name>.kubeconfig`, by which the holder of the certificate `name` reaches `server`."""
        cluster = {"server": server, "certificate-authority": str(self.path("ca.crt"))}
        user = {"client-certificate": str(self.path(f"{name}.crt")), "client-key": str(self.path(f"{name}.key"))}
        context = {"cluster": "penstock-test", "user": name}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "penstock-test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "penstock-test", "context": context}],
            "current-context": "penstock-test",
        }
        target = self.path(f"{name}.kubeconfig")
        target.write_text(json.dumps(content, indent=1))
        return target

    def path(self, file: str) -> Path:
        """Where a file of the authority lies."""
        return self.folder / file

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + LIFETIME)

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        encoding = serialization.Encoding.PEM
        self.path(f"{name}.crt").write_bytes(certificate.public_bytes(encoding))
        private = key.private_bytes(
            encoding, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        self.path(f"{name}.key").touch(mode=0o600)
        self.path(f"{name}.key").write_bytes(private)
