"""The lab's authorities, certificates and keys, made on first use and renewed in time, and its kubeconfig files."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .settings import CLUSTER_DOMAIN, NODE_NAME, LabSettings
from .system import make_folder, write_bytes, write_text

AUTHORITY_LIFETIME = timedelta(days=3650)
CERTIFICATE_LIFETIME = timedelta(days=365)
RENEW_BEFORE_END = timedelta(days=30)
# A certificate is valid a little before it was made: clocks differ.
_CLOCK_SKEW = timedelta(minutes=5)

CLUSTER_AUTHORITY = "ca"
ETCD_AUTHORITY = "etcd-ca"
# Each has a kubeconfig file and a certificate of this name.
COMPONENTS = ("controller-manager", "scheduler", "kubelet", "proxy", "dns")


@dataclass(frozen=True)
class CertificateSpec:
    """The required content of a certificate. The file names are `NAME.crt` and `NAME.key`."""

    name: str
    common_name: str
    organization: str = ""
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    authority: str = CLUSTER_AUTHORITY

    def subject(self) -> x509.Name:
        organization = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.organization)] if self.organization else []
        return x509.Name([*organization, x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])

    def alternative_names(self) -> list[x509.GeneralName]:
        return [
            *(x509.DNSName(name) for name in self.dns_names),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in self.addresses),
        ]


def certificate_specs(settings: LabSettings) -> list[CertificateSpec]:
    """Every certificate of the lab. Kubernetes' default roles are bound to these names and groups."""
    network = settings.network
    loopback = ("localhost",)
    service_names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
    return [
        CertificateSpec(
            "apiserver",
            "kube-apiserver",
            dns_names=(*loopback, *service_names, f"kubernetes.default.svc.{CLUSTER_DOMAIN}"),
            addresses=("127.0.0.1", network.apiserver_service, network.node_address),
        ),
        CertificateSpec("apiserver-kubelet-client", "kube-apiserver-kubelet-client"),
        CertificateSpec("admin", "slipway-lab-admin", organization="system:masters"),
        CertificateSpec(
            "controller-manager", "system:kube-controller-manager", dns_names=loopback, addresses=("127.0.0.1",)
        ),
        CertificateSpec("scheduler", "system:kube-scheduler", dns_names=loopback, addresses=("127.0.0.1",)),
        CertificateSpec(
            "kubelet",
            f"system:node:{NODE_NAME}",
            organization="system:nodes",
            dns_names=(NODE_NAME,),
            addresses=(network.node_address, "127.0.0.1"),
        ),
        CertificateSpec("proxy", "system:kube-proxy"),
        CertificateSpec("dns", "system:coredns"),
        CertificateSpec("etcd", "etcd", dns_names=loopback, addresses=("127.0.0.1",), authority=ETCD_AUTHORITY),
        CertificateSpec("etcd-client", "kube-apiserver-etcd-client", authority=ETCD_AUTHORITY),
    ]


def ensure_pki(folder: Path, specs: Sequence[CertificateSpec], now: datetime | None = None) -> list[str]:
    """Create certificates and keys that are missing, damaged, expiring or unlike `specs`; returns their names."""
    now = now or datetime.now(UTC)
    make_folder(folder)
    renewed = []
    for authority in sorted({spec.authority for spec in specs}):
        pair = _load_pair(folder, authority)
        if pair is None or not _lasts(pair[0], now):
            _make_authority(folder, authority, now)
            renewed.append(authority)
    for spec in specs:
        if not _certificate_fits(folder, spec, now):
            _make_certificate(folder, spec, now)
            renewed.append(spec.name)
    key, public = load_key(folder / "service-account.key"), folder / "service-account.pub"
    if key is None or not public.exists() or public.read_bytes() != _public_pem(key):
        key = key or ec.generate_private_key(ec.SECP256R1())
        _write_key(folder / "service-account.key", key)
        write_bytes(public, _public_pem(key))
        renewed.append("service-account")
    return renewed


def load_certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def load_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _load_pair(folder: Path, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    certificate, key = load_certificate(folder / f"{name}.crt"), load_key(folder / f"{name}.key")
    if certificate is None or key is None or certificate.public_key() != key.public_key():
        return None
    return certificate, key


def _lasts(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE_END


def _certificate_fits(folder: Path, spec: CertificateSpec, now: datetime) -> bool:
    pair, authority = _load_pair(folder, spec.name), load_certificate(folder / f"{spec.authority}.crt")
    if pair is None or authority is None or not _lasts(pair[0], now):
        return False
    try:
        pair[0].verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    try:
        names = list(pair[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = []
    return pair[0].subject == spec.subject() and names == spec.alternative_names()


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    write_bytes(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _write_pair(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    _write_key(folder / f"{name}.key", key)
    write_bytes(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _make_authority(folder: Path, name: str, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"slipway-lab-{name}")])
    certificate = (
        _builder(subject, subject, key, now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_pair(folder, name, certificate, key)


def _make_certificate(folder: Path, spec: CertificateSpec, now: datetime) -> None:
    pair = _load_pair(folder, spec.authority)
    if pair is None:
        raise ValueError(f"the certificate authority {spec.authority} of {spec.name} does not exist")
    authority, authority_key = pair
    key = ec.generate_private_key(ec.SECP256R1())
    names = spec.alternative_names()
    # etcd's one member is its own client too; a certificate without names is for clients only.
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])
    builder = (
        _builder(spec.subject(), authority.subject, key, now, CERTIFICATE_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write_pair(folder, spec.name, builder.sign(authority_key, hashes.SHA256()), key)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def user_kubeconfig(settings: LabSettings) -> Path:
    return settings.home / "kubeconfig"


def component_kubeconfig(settings: LabSettings, name: str) -> Path:
    return settings.config / f"{name}.kubeconfig"


def write_kubeconfigs(settings: LabSettings) -> None:
    write_text(user_kubeconfig(settings), render_kubeconfig(settings, "admin"))
    for name in COMPONENTS:
        write_text(component_kubeconfig(settings, name), render_kubeconfig(settings, name))


def render_kubeconfig(settings: LabSettings, certificate: str) -> str:
    """A kubeconfig with embedded certificates and keys, so that a copy works anywhere on this machine."""

    def embedded(file_name: str) -> str:
        return base64.b64encode((settings.pki / file_name).read_bytes()).decode()

    name = "slipway-lab"
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": settings.apiserver_url,
                        "certificate-authority-data": embedded("ca.crt"),
                    },
                }
            ],
            "users": [
                {
                    "name": certificate,
                    "user": {
                        "client-certificate-data": embedded(f"{certificate}.crt"),
                        "client-key-data": embedded(f"{certificate}.key"),
                    },
                }
            ],
            "contexts": [{"name": name, "context": {"cluster": name, "user": certificate}}],
            "current-context": name,
        },
        sort_keys=False,
    )
