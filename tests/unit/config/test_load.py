"""Configuration files: what is read from good ones, and what is said about bad ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ftd import limits
from ftd.config import Address, Config, load
from ftd.errors import ConfigError
from ftd.protocol.control import EndpointSpec, EtcdSpec, EtcdTlsSpec, FenceSpec, FencingSpec
from ftd.specs import arbiter_spec

HOST = """
[host]
name = "alpha"
control_listen = "127.0.0.1:7600"
data_address = "127.0.0.1"
runtime_dir = "/run/ftd-a"
state_dir = "/var/lib/ftd-a"

[peers.beta]
address = "127.0.0.1:7601"
"""
VM = """
name = "web"
memory_mib = 64
[guest]
image = "./guest.bin"
"""

ETCD = "[arbiter]\nkind = 'etcd'\nendpoints = ['h:1']\n"

Load = Callable[..., Config]


@pytest.fixture
def load_files(tmp_path: Path) -> Load:
    """Loads a host file and one VM file, given as text."""

    def load_texts(host: str = HOST, vm: str = VM) -> Config:
        (tmp_path / "vms").mkdir()
        (tmp_path / "vms/web.toml").write_text(vm)
        (tmp_path / "vms/guest.bin").write_bytes(b"guest")
        (tmp_path / "ftd.toml").write_text(host)
        return load(tmp_path / "ftd.toml")

    return load_texts


def test_defaults_and_paths(load_files: Load, tmp_path: Path) -> None:
    config = load_files(
        vm=VM
        + '[console]\nlisten = "unix:{runtime_dir}/web.console"\n[replication]\ncheckpoint_rate_hz = 2500'
    )
    vm = config.vms["web"]
    assert config.control_socket == Path("/run/ftd-a/ctl.sock")
    assert config.arbiter_directory == Path("/var/lib/ftd-a/arbiter")
    assert config.peers == {"beta": Address("127.0.0.1", 7601)}
    assert vm.peer == "beta", "the only peer is the default"
    assert vm.memory_bytes == 64 << 20
    assert vm.console == "unix:/run/ftd-a/web.console"
    assert vm.image == tmp_path / "vms/guest.bin"
    assert (vm.replication.checkpoint_rate_hz, vm.replication.heartbeat_timeout_ms) == (2500, 500)
    assert len(vm.vm_id) == limits.VM_ID_BYTES


FENCED = HOST.replace('7601"', '7601"\nfence = ["/bin/agent", "ip=1", "password=a=b"]\nfence_delay_s = 5')
NO_ARBITER = "[arbiter]\nkind = 'none'\n"


def test_a_fence_command_in_place_of_an_arbiter(load_files: Load) -> None:
    spec = arbiter_spec(load_files(FENCED + NO_ARBITER))
    assert (spec.kind, spec.directory) == ("none", "/var/lib/ftd-a/fencing")
    device = FenceSpec(
        host="beta", command="/bin/agent", options=["ip=1", "password=a=b"], delay_s=5, timeout_s=60
    )
    assert spec.fencing == FencingSpec(peer="beta", device=device)


@pytest.mark.parametrize("host", [HOST, FENCED])
def test_an_operator_in_place_of_an_arbiter(load_files: Load, host: str) -> None:
    """Then no command is run, though one is configured."""
    spec = arbiter_spec(load_files(host + NO_ARBITER + "unattended_failover = false\n"))
    assert spec.fencing == FencingSpec(peer="beta", device=None)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (HOST + NO_ARBITER, "arbiter.kind: 'none' leaves nobody to decide which host goes on when beta is"),
        (
            FENCED + "[peers.gamma]\naddress = 'h:1'\n" + NO_ARBITER,
            "arbiter.kind: 'none' is for two hosts that have each other as the only peer, here are 2 [peers]",
        ),
        (FENCED.replace("ip=1", "ip"), "peers.beta.fence: 'ip' is not name=value"),
        (FENCED.replace("ip=1", "=1"), "peers.beta.fence: '=1' is not name=value"),
        (FENCED.replace("ip=1", "ip=1\\naction=on"), "is not name=value"),
        (FENCED.replace("ip=1", "action=on"), "peers.beta.fence: ftd says itself which action it wants"),
        (FENCED.replace("= 5", "= 301"), "fence_delay_s: Expected `int` <= 300"),
        (HOST + "[arbiter]\nunattended_failover = false\n", "has no meaning for kind 'local'"),
        (FENCED + NO_ARBITER + "directory = '/x'\n", "arbiter.directory: has no meaning for kind 'none'"),
    ],
)
def test_bad_fencing(load_files: Load, host: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_files(host)
    assert said in caught.value.message


def test_hosts_that_may_have_the_standby(load_files: Load) -> None:
    """In the order of the file, which may be the same everywhere: a host passes itself over."""
    host = f'{HOST}\n[peers.gamma]\naddress = "127.0.0.1:7602"\n'
    vm = load_files(host, 'peers = ["gamma", "alpha", "beta"]\n' + VM).vms["web"]
    assert (vm.peers, vm.peer) == (("gamma", "beta"), "gamma")


def test_what_a_worker_is_told_of_etcd(load_files: Load) -> None:
    config = load_files(f"{HOST}\n{ETCD}ca_file = '/ca.pem'\n")
    assert arbiter_spec(config).etcd == EtcdSpec(
        endpoints=[EndpointSpec(host="h", port=1)],
        prefix="/ftd/",
        timeout_ms=3000,
        tls=EtcdTlsSpec(ca_file="/ca.pem"),
    )


def test_vm_id_follows_from_the_name_alone(load_files: Load) -> None:
    """Two hosts of different releases must compute the same."""
    assert load_files().vms["web"].vm_id.hex() == "78de7dc72e4a5bb8815ab819d3b332c6"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            "[replication]\ncheckpoint_rate = 5",
            "replication.checkpoint_rate: unknown key (did you mean checkpoint_rate_hz",
        ),
        (
            "[replication]\nzzz = 5",
            "replication.zzz: unknown key; allowed here: checkpoint_rate_hz, connect_timeout_s",
        ),
        (
            "[replication]\ncheckpoint_rate_hz = '5'",
            "replication.checkpoint_rate_hz: Expected `int`, got `str`",
        ),
        ("[replication]\ncheckpoint_rate_hz = 0", "replication.checkpoint_rate_hz: Expected `int` >= 1"),
        ("[replication]\nheartbeat_timeout_ms = 50", "one late heartbeat would look like a dead host"),
        (
            "[replication]\nheartbeat_interval_ms = 30\nwatchdog_ms = 34",
            "replication.watchdog_ms: heartbeat_interval_ms 30 + 5 for the echo = 35 is more than",
        ),
        (
            "[replication]\nheartbeat_interval_ms = 3\nheartbeat_timeout_ms = 12",
            "= 8 is more than watchdog_ms 6 (half of heartbeat_timeout_ms): output would wait",
        ),
        (
            "[replication]\nwatchdog_ms = 451",
            "watchdog_ms 451 + slack 50 = 501 is more than heartbeat_timeout_ms 500: the standby might",
        ),
        ("[peers.alpha]\naddress = '127.0.0.1:1'", "peers.alpha: a host cannot be its own peer"),
        ("[peers.gamma]\naddress = '127.0.0.1'", "peers.gamma.address: '127.0.0.1' is not address:port"),
        ("[peers.gamma]\naddress = 'h:70000'", "peers.gamma.address: 'h:70000': '70000' is no port"),
        ("[peers.gamma]\nadress = 'h:1'", "peers.gamma.adress: unknown key (did you mean address?)"),
        ("[arbiter]\nkind = 'zookeeper'", "arbiter.kind: 'zookeeper' is not one of local, etcd"),
        ("[arbiter]\nkind = 'etcd'", "arbiter.endpoints: kind 'etcd' needs address:port of each member"),
        ("[arbiter]\nendpoints = ['h:1']", "arbiter.endpoints: has no meaning for kind 'local'"),
        ("[arbiter]\ntimeout_ms = 500", "arbiter.timeout_ms: has no meaning for kind 'local'"),
        (ETCD + "directory = '/srv'", "arbiter.directory: has no meaning for kind 'etcd'"),
        (ETCD.replace("h:1", "http://h:1"), "arbiter.endpoints[0]: 'http://h:1' is not address:port"),
        (ETCD + "timeout_ms = 99", "arbiter.timeout_ms: Expected `int` >= 100"),
        (ETCD + "prefix = ''", "arbiter.prefix: Expected `str` of length >= 1"),
        (ETCD + "cert_file = '/c'", "arbiter.cert_file: it takes both, cert_file and key_file"),
        (ETCD + "cert_file = '/c'\nkey_file = '/k'", "arbiter.ca_file: required with cert_file"),
        (ETCD + "ca_file = 'ca.pem'", "arbiter.ca_file: 'ca.pem' is not an absolute path"),
        ("[log]\nlevel = 'loud'", "log.level: 'loud' is not one of debug, info, warning, error"),
        ("= broken", "is not valid TOML"),
    ],
)
def test_bad_host_file(load_files: Load, extra: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_files(host=f"{HOST}\n{extra}\n")
    assert "ftd.toml: " in caught.value.message
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"127.0.0.1"', '"0.0.0.0"', "host.data_address: a peer cannot connect to 0.0.0.0"),
        (
            '"127.0.0.1"',
            '"localhost"',
            "host.data_address: 'localhost' does not appear to be an IPv4 or IPv6",
        ),
        ('"/run/ftd-a"', '"run"', "host.runtime_dir: 'run' is not an absolute path"),
        ('name = "alpha"', 'name = "../alpha"', "host.name: Expected `str` matching regex"),
        ('name = "alpha"', "", "host: Object missing required field `name`"),
        ("[host]", "[hosts]", "hosts: unknown key (did you mean host?)"),
    ],
)
def test_bad_host_section(load_files: Load, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_files(host=HOST.replace(old, new))
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("vm", "said"),
    [
        (VM.replace("memory_mib", "memory"), "web.toml: memory: unknown key (did you mean memory_mib?)"),
        (VM.replace("64", "63"), "memory_mib: 63 is not a multiple of 2"),
        (VM.replace("64", "true"), "memory_mib: Expected `int`, got `bool`"),
        (VM.replace('"web"', '"Web site"'), "name: Expected `str` matching regex"),
        (VM.replace('"web"', '"web\\n"'), "name: Expected `str` matching regex"),
        (VM.replace('"./guest.bin"', '"gust"'), "guest.image: no bare guest 'gust'"),
        ("peer = 'gamma'\n" + VM, "has no [peers.gamma] (there are: beta)"),
        ("peers = ['beta', 'gamma']\n" + VM, "has no [peers.gamma] (there are: beta)"),
        ("peer = 'beta'\npeers = ['beta']\n" + VM, "peers: it takes `peer` or `peers`, not both"),
        ("peers = ['beta', 'beta']\n" + VM, "peers: a host stands in it twice"),
        ("vcpus = 9\n" + VM, "vcpus: Expected `int` <= 8"),
        ("tracker = 'pml'\n" + VM, "tracker: 'pml' is not one of auto, mt, ring, bitmap"),
        (VM + "args = [-1]", "guest.args[0]: Expected `int` >= 0"),
        (VM + "[console]\nlisten = 'udp:1'", "console.listen: 'udp:1' is neither unix:/path nor"),
        (VM + f"[console]\nlisten = 'unix:/{'x' * 107}'", "is longer than 107 bytes"),
        (VM + "[console]\nlisten = 'tcp:1.2.3.4'", "console.listen: '1.2.3.4' is not address:port"),
        (VM + "[replication]\nheartbeat_interval_ms = 200", "one late heartbeat would look like a dead host"),
        (
            VM + "[replication]\nheartbeat_timeout = 1",
            "replication.heartbeat_timeout: unknown key (did you mean",
        ),
    ],
)
def test_bad_vm_file(load_files: Load, vm: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_files(vm=vm)
    assert "web.toml: " in caught.value.message
    assert said in caught.value.message


def test_worker_socket_that_no_unix_socket_can_have(load_files: Load) -> None:
    with pytest.raises(ConfigError, match=r"shorten the name or host\.runtime_dir"):
        load_files(host=HOST.replace("/run/ftd-a", "/run/" + "d" * 90))


def test_two_files_of_one_name(load_files: Load, tmp_path: Path) -> None:
    load_files()
    (tmp_path / "vms/zzz.toml").write_text(VM)
    with pytest.raises(ConfigError, match=r"zzz\.toml: name: .*web\.toml describes a VM web already"):
        load(tmp_path / "ftd.toml")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ftd\.toml: cannot be read: No such file"):
        load(tmp_path / "ftd.toml")
    (tmp_path / "ftd.toml").write_text(HOST)
    with pytest.raises(ConfigError, match=r"vm_dir: .*vms is not a folder"):
        load(tmp_path / "ftd.toml")


def test_missing_image_is_a_sentence(load_files: Load, tmp_path: Path) -> None:
    vm = load_files().vms["web"]
    vm.image.unlink()
    with pytest.raises(ConfigError, match=r"guest\.image: cannot read .*guest\.bin: No such file"):
        vm.image_sha256()


@pytest.mark.parametrize("text", ["[::1]:7600", "127.0.0.1:7600", "host.example:1"])
def test_address_round_trip(text: str) -> None:
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["", ":1", "::1:7600", "host:", "host:0", "host:+1", "host:\u0661"])
def test_not_an_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|address"):
        Address.parse(text)
