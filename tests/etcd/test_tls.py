"""TLS with a real member that asks for a client's certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from ftd.arbiter.contract import ArbiterUnreachable, Record, Won
from ftd.arbiter.etcd.arbiter import EtcdArbiter
from ftd.protocol.control import EtcdTlsSpec
from tests.etcd.cluster import Cluster, answers

VM = "4f4c1f3a-1f7d-4d0e-9d57-6f2f0d3c9a10"
ALPHA_CLAIM = b"alpha claims it."


class Files:
    """Of an authority, and of a certificate that it issued."""

    def __init__(self, folder: Path, authority: trustme.CA, name: str) -> None:
        folder.mkdir(exist_ok=True)
        issued = authority.issue_cert(name)
        self.ca, self.cert, self.key = folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key"
        authority.cert_pem.write_to_path(self.ca)
        issued.cert_chain_pems[0].write_to_path(self.cert)
        issued.private_key_pem.write_to_path(self.key)

    def spec(self) -> EtcdTlsSpec:
        """As a host shows and checks it."""
        return EtcdTlsSpec(ca_file=str(self.ca), cert_file=str(self.cert), key_file=str(self.key))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secured(
    etcd_program: Path, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("etcd-tls")
    own = Files(folder / "own", authority, "127.0.0.1")
    tls = {"--cert-file": own.cert, "--key-file": own.key, "--trusted-ca-file": own.ca}
    cluster = Cluster(etcd_program, folder, 1, tls)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


async def test_claims_over_tls(secured: Cluster, authority: trustme.CA, tmp_path: Path, prefix: str) -> None:
    arbiter = EtcdArbiter(secured.spec(prefix, tls=Files(tmp_path, authority, "alpha.example").spec()))
    await answers(arbiter)
    won = await arbiter.claim(VM, 0, "alpha", ALPHA_CLAIM)
    assert won == Won(Record(VM, 1, "alpha", ALPHA_CLAIM))
    assert await arbiter.read(VM) == won.record


async def test_whom_a_member_does_not_know_and_who_does_not_know_it(
    secured: Cluster, authority: trustme.CA, tmp_path: Path, prefix: str
) -> None:
    known = Files(tmp_path / "known", authority, "alpha.example")
    await answers(EtcdArbiter(secured.spec(prefix, tls=known.spec())))
    strange = Files(tmp_path / "strange", trustme.CA(), "alpha.example")
    without = EtcdTlsSpec(ca_file=str(known.ca))
    another = EtcdTlsSpec(ca_file=str(known.ca), cert_file=str(strange.cert), key_file=str(strange.key))
    for tls, why in (
        (None, "it refused|closed the connection|the connection broke|not HTTP"),
        (without, "the connection broke|TLS was not agreed on"),
        (another, "the connection broke|TLS was not agreed on"),
        (strange.spec(), r"TLS was not agreed on \(.*certificate"),
    ):
        with pytest.raises(ArbiterUnreachable, match=why) as caught:
            await EtcdArbiter(secured.spec(prefix, tls=tls)).claim(VM, 0, "alpha", ALPHA_CLAIM)
        print(caught.value.reason)


async def test_member_of_another_name_is_not_believed(
    etcd_program: Path, authority: trustme.CA, tmp_path: Path, prefix: str
) -> None:
    own = Files(tmp_path, authority, "localhost")
    tls = {"--cert-file": own.cert, "--key-file": own.key, "--trusted-ca-file": own.ca}
    cluster = Cluster(etcd_program, tmp_path, 1, tls)
    try:
        cluster.start()
        arbiter = EtcdArbiter(cluster.spec(prefix, tls=own.spec()))
        reason = ""
        while "no connection" in reason or not reason:
            with pytest.raises(ArbiterUnreachable) as caught:
                await arbiter.read(VM)
            reason = caught.value.reason
        assert "TLS was not agreed on (IP address mismatch" in reason
    finally:
        cluster.end()


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("ca_file", r"arbiter\.ca_file /nowhere\.pem cannot be used \(No such file or directory\)"),
        ("key_file", r"and arbiter\.key_file /nowhere\.pem cannot be used together \(No such file"),
    ],
)
async def test_files_that_cannot_be_used(
    authority: trustme.CA, tmp_path: Path, missing: str, why: str
) -> None:
    files = Files(tmp_path, authority, "alpha.example")
    names = {"ca_file": str(files.ca), "cert_file": str(files.cert), "key_file": str(files.key)}
    cluster = Cluster(Path("/nowhere"), tmp_path, 1)
    arbiter = EtcdArbiter(cluster.spec("/", tls=EtcdTlsSpec(**{**names, missing: "/nowhere.pem"})))
    with pytest.raises(ArbiterUnreachable, match=why):
        await arbiter.read(VM)
    files.ca.write_text("no certificate")
    arbiter = EtcdArbiter(cluster.spec("/", tls=EtcdTlsSpec(ca_file=str(files.ca))))
    with pytest.raises(ArbiterUnreachable, match=r"arbiter\.ca_file .* cannot be used \("):
        await arbiter.read(VM)
