"""Certificates are made once, and made anew exactly when they no longer fit."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from lab.pki import CertificateSpec, certificate_specs, ensure_pki, load_certificate
from lab.settings import LabSettings, Network

SERVER = CertificateSpec("server", "a-server", dns_names=("localhost",), addresses=("127.0.0.1",))
CLIENT = CertificateSpec("client", "a-client", organization="a-group")
OTHER = CertificateSpec("member", "a-member", authority="other-ca")
SPECS = [SERVER, CLIENT, OTHER]
ALL = {"ca", "other-ca", "server", "client", "member", "service-account"}
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert set(ensure_pki(tmp_path / "pki", SPECS, NOW)) == ALL
    return tmp_path / "pki"


def certificate(folder: Path, name: str) -> x509.Certificate:
    found = load_certificate(folder / f"{name}.crt")
    assert found is not None
    return found


def test_a_second_run_makes_nothing(folder: Path) -> None:
    assert ensure_pki(folder, SPECS, NOW + timedelta(days=1)) == []


def test_nobody_else_may_read_anything(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_certificates_say_what_was_requested_and_come_from_their_authority(folder: Path) -> None:
    client, server, member = (certificate(folder, name) for name in ("client", "server", "member"))
    assert client.subject.rfc4514_string() == "CN=a-client,O=a-group"
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    server.verify_directly_issued_by(certificate(folder, "ca"))
    member.verify_directly_issued_by(certificate(folder, "other-ca"))
    with pytest.raises(ValueError, match="Issuer"):
        member.verify_directly_issued_by(certificate(folder, "ca"))


def test_a_client_certificate_cannot_pose_as_a_server(folder: Path) -> None:
    usages = certificate(folder, "client").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]


def test_renewed_before_the_end(folder: Path) -> None:
    assert ensure_pki(folder, SPECS, NOW + timedelta(days=334)) == []
    assert ensure_pki(folder, SPECS, NOW + timedelta(days=336)) == ["server", "client", "member"]


def test_renewed_when_the_address_changed(folder: Path) -> None:
    moved = [replace(SERVER, addresses=("127.0.0.1", "10.1.2.3")), CLIENT, OTHER]
    assert ensure_pki(folder, moved, NOW) == ["server"]
    assert ensure_pki(folder, moved, NOW) == []


def test_renewed_when_the_subject_changed(folder: Path) -> None:
    assert ensure_pki(folder, [SERVER, replace(CLIENT, organization="another"), OTHER], NOW) == ["client"]


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\nhalf a fi"])
@pytest.mark.parametrize("suffix", ["crt", "key"])
def test_a_damaged_file_is_made_anew(folder: Path, suffix: str, damage: bytes) -> None:
    (folder / f"client.{suffix}").write_bytes(damage)
    assert ensure_pki(folder, SPECS, NOW) == ["client"]


def test_a_key_of_another_certificate_is_noticed(folder: Path) -> None:
    (folder / "client.key").write_bytes((folder / "server.key").read_bytes())
    assert ensure_pki(folder, SPECS, NOW) == ["client"]


def test_a_lost_authority_renews_all_it_signed_and_nothing_else(folder: Path) -> None:
    (folder / "ca.key").unlink()
    assert ensure_pki(folder, SPECS, NOW) == ["ca", "server", "client"]


def test_the_service_account_key_survives_a_lost_public_half(folder: Path) -> None:
    public, private = folder / "service-account.pub", folder / "service-account.key"
    before = (public.read_bytes(), private.read_bytes())
    public.unlink()
    assert ensure_pki(folder, SPECS, NOW) == ["service-account"]
    assert (public.read_bytes(), private.read_bytes()) == before


def test_the_lab_asks_for_what_kubernetes_roles_are_bound_to(tmp_path: Path) -> None:
    settings = LabSettings(home=tmp_path, network=Network(node_address="10.9.8.7"))
    specs = {spec.name: spec for spec in certificate_specs(settings)}
    assert (specs["kubelet"].common_name, specs["kubelet"].organization) == ("system:node:slipway-lab", "system:nodes")
    assert specs["scheduler"].common_name == "system:kube-scheduler"
    assert specs["controller-manager"].common_name == "system:kube-controller-manager"
    assert specs["proxy"].common_name == "system:kube-proxy"
    assert "10.9.8.7" in specs["apiserver"].addresses
    assert "10.9.8.7" in specs["kubelet"].addresses
    # Whoever may speak to the API server may not thereby speak to its memory.
    assert {spec.name for spec in specs.values() if spec.authority == "etcd-ca"} == {"etcd", "etcd-client"}
