"""What operators see: results, sentences, exit codes, and never a traceback."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from ftd.ctl.main import main
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import Message, Nothing, SyncProgress, VmParams
from ftd.protocol.control_operator import (
    ForceParams,
    StatusReport,
    Unresponsive,
    VersionInfo,
    VmEntry,
    VmList,
    VmStarted,
)
from tests.unit.ctl.fake_ftd import FakeFtd, report, worker_status


@pytest.fixture
async def ftd(tmp_path: Path) -> AsyncIterator[FakeFtd]:
    fake = FakeFtd(tmp_path / "ctl.sock")
    async with fake.running():
        yield fake


FORCED = ForceParams(vm="web", force=True)
STARTED = VmStarted(pid=9, console="unix:/c")
VERSIONS = VersionInfo(version="9", protocol_version=1, host="alpha")


@pytest.mark.parametrize(
    ("command", "method", "answer", "asked", "said"),
    [
        ("vm start web", "vm_start", STARTED, ForceParams(vm="web"), "(pid 9), console at unix:/c"),
        ("vm start web --force", "vm_start", STARTED, FORCED, "VM web runs"),
        ("vm stop web", "vm_stop", Nothing(), VmParams(vm="web"), "is stopped"),
        ("enter web", "enter", Nothing(), VmParams(vm="web"), "is protected"),
        ("leave web", "leave", Nothing(), VmParams(vm="web"), "not protected any more"),
        ("switchover web", "switchover", Nothing(), VmParams(vm="web"), "runs on its peer now"),
        ("failover web", "failover", Nothing(), ForceParams(vm="web"), "runs here now"),
        ("failover --force web", "failover", Nothing(), FORCED, "runs here now"),
        ("version", "version", VERSIONS, Nothing(), "on host alpha"),
    ],
)
async def test_commands(
    ftd: FakeFtd, command: str, method: str, answer: Message, asked: Message, said: str
) -> None:
    ftd.answers[method] = answer
    result = await ftd.ftctl(*command.split())
    assert (result.exit_code, ftd.asked) == (0, [(method, asked)])
    assert said in result.output


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (ErrorKind.WRONG_STATE, 1),
        (ErrorKind.PEER_UNREACHABLE, 1),
        (ErrorKind.UNKNOWN_VM, 2),
        (ErrorKind.CONFIG, 2),
    ],
)
async def test_refusals_are_a_sentence_and_an_exit_code(
    ftd: FakeFtd, kind: ErrorKind, exit_code: int
) -> None:
    ftd.answers["enter"] = ControlError(kind, "no, because")
    result = await ftd.ftctl("enter", "web")
    assert result.exit_code == exit_code
    assert result.stderr == "ftctl: no, because\n"


@pytest.mark.parametrize("arguments", [["vm", "list"], ["status"], ["status", "--json"], ["enter", "web"]])
def test_ftd_is_not_running(tmp_path: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["--socket", str(tmp_path / "none.sock"), *arguments])
    assert result.exit_code == 1
    assert "none.sock (No such file or directory). Start it with `systemctl start ftd`" in result.stderr
    assert "Traceback" not in result.output


async def test_what_answers_is_no_ftd(tmp_path: Path, nursery: trio.Nursery) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    fake = FakeFtd(tmp_path / "ctl.sock")
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(fake.socket))
    listener.listen()
    nursery.start_soon(trio.serve_listeners, hang_up, [trio.SocketListener(listener)])
    result = await fake.ftctl("vm", "list")
    assert result.exit_code == 1
    assert "closed before it answered vm_list" in result.stderr
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "arguments", [["enter"], ["status", "--interval", "0"], ["vm", "destroy"], ["--nope"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


async def test_vm_list(ftd: FakeFtd) -> None:
    running = VmEntry(
        vm="web",
        configured=True,
        peer="beta",
        memory_bytes=64 << 20,
        vcpus=2,
        console=None,
        role="active",
        state="protected",
        pid=7,
    )
    stopped = VmEntry(vm="db", configured=False, peer=None, memory_bytes=0, vcpus=1, console="tcp:[::1]:5")
    ftd.answers["vm_list"] = VmList(vms=[stopped, running])
    output = (await ftd.ftctl("vm", "list")).output
    assert "db (not configured)" in output
    assert "64 MiB" in output
    assert "tcp:[::1]:5" in output, "brackets are not markup"


async def test_status_once_shows_rates_between_two_samples(ftd: FakeFtd) -> None:
    samples = iter(
        [
            report(worker_status()),
            report(
                worker_status(
                    stamp_ns=2 * 10**9,
                    counters={
                        "epochs_acked": 2500,
                        "epochs_sealed": 2500,
                        "pages": 25000,
                        "bytes": 10**8,
                        "stalls": 4,
                    },
                    histograms={"pause_ns": [(300, 98), (500, 2)]},
                    reason="a reason",
                )
            ),
        ]
    )
    ftd.answers["status"] = lambda: next(samples)
    output = (await ftd.ftctl("status", "web")).output
    for figure in ("2,500", "10.0", "100.0", " 4"):
        assert figure in output
    assert "12 / 868" in output
    assert "web: a reason" in output


async def test_status_shows_progress_and_the_silent(ftd: FakeFtd) -> None:
    progress = SyncProgress(round=2, sent_bytes=50, total_bytes=200, pending_pages=1)
    whole = report(worker_status(state="syncing", sync=progress))
    silent = [Unresponsive(vm="db", pid=8, message="the worker of VM db (pid 8) does not answer")]
    ftd.answers["status"] = StatusReport(host=whole.host, workers=whole.workers, unresponsive=silent)
    output = (await ftd.ftctl("status")).output
    assert "syncing 25% (round 2)" in output
    assert "VM db (pid 8) does not answer" in output


async def test_status_of_an_empty_host(ftd: FakeFtd) -> None:
    ftd.answers["status"] = report()
    assert (await ftd.ftctl("status")).output == "no VM runs on alpha\n"


async def test_status_json_is_all_there_is(ftd: FakeFtd) -> None:
    ftd.answers["status"] = report(worker_status(counters={"frames_refused_magic": 3}))
    shown = json.loads((await ftd.ftctl("status", "--json")).output)
    assert shown["workers"][0]["counters"] == {"frames_refused_magic": 3}


async def test_watch_goes_on_while_ftd_restarts_and_ends_quietly(ftd: FakeFtd) -> None:
    answers: list[StatusReport | BaseException] = [
        report(worker_status()),
        ControlError(ErrorKind.NOT_RUNNING, "ftd does not listen"),
        report(worker_status(state="simplex")),
        KeyboardInterrupt(),
    ]

    async def scripted(*_: object) -> StatusReport:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ftd.ctl.status.call", scripted)
        result = await ftd.ftctl("status", "--watch", "--interval", "0.05")
    assert (result.exit_code, answers) == (0, [])
    assert [word in result.output for word in ("protected", "ftd does not listen", "simplex")] == [True] * 3


def test_interrupted_request_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object) -> None:
        async with trio.open_nursery():
            raise KeyboardInterrupt

    monkeypatch.setattr("ftd.ctl.progress.call", interrupted)
    result = CliRunner().invoke(main, ["enter", "web"])
    assert result.exit_code == 130
    assert "what was asked for goes on in ftd" in result.stderr


@pytest.mark.parametrize(
    "command", [[], ["vm"], ["enter"], ["failover"], ["status"], ["demo"], ["switchover"]]
)
def test_help(command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
