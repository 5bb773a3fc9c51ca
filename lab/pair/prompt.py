"""The lab's prompt: a line is a command, from a terminal or a pipe."""

import sys
from collections.abc import Awaitable, Callable
from typing import Final

import click
import trio

from lab.errors import LabError
from lab.pair import shell
from lab.pair.configuration import LEDGER_PORT
from lab.pair.network import CLIENT, HOSTS, MANAGEMENT, NETWORKS, QUESTIONS, REPLICATION, Network, Way
from lab.pair.pair import Pair

COMMAND_DEADLINE_S: Final = 600.0
HELP: Final = """
  alpha COMMAND             run a shell command on alpha, such as `alpha ftctl status`; beta likewise
  outside COMMAND           run it as the party outside, which is on the networks client and mgmt
  shell alpha               a terminal on alpha (from another terminal: python -m lab shell alpha)
  status                    what both hosts are doing
  log alpha                 the ends of the logs of ftd and its workers
  kill alpha                power loss             boot alpha    and back, with the same addresses
  freeze alpha              all of it stands       thaw alpha    and goes on
  cut repl alpha [from|to]  drop what alpha sends (from), would receive (to), or both; repl, client, mgmt
  heal                      end all cuts
  slow repl alpha WORDS     what alpha sends: tc-netem(8)'s words, as `delay 20ms loss 1%`; none: as before
  help                      this
  quit                      end the lab, hosts and all (end of input, Ctrl-C)
"""
WELCOME: Final = f"""
Two hosts run ftd. Their addresses end in 1 (alpha) and 2 (beta):
  {REPLICATION.name:8}{REPLICATION.address("alpha")}   between the two, for replication
  {CLIENT.name:8}{CLIENT.address("alpha")}   guests and clients; a bridge on each host. Outside is .254
  {MANAGEMENT.name:8}{MANAGEMENT.address("alpha")}   the arbiter, an etcd of the party outside
  {QUESTIONS.name:8}{QUESTIONS.address("alpha")}   the lab itself; never cut

A guest to begin with: `alpha ftctl vm start ledger`, `alpha ftctl enter ledger`, then
`outside echo '?' | socat -t 2 - TCP:{CLIENT.address("alpha")}:{LEDGER_PORT}`; and `kill alpha`.
{HELP}"""

Action = Callable[[list[str]], Awaitable[None]]


class Prompt:
    """Carries out commands until the end. `failed`: one of them did."""

    def __init__(self, pair: Pair) -> None:
        self.failed = False
        self._pair = pair
        self._actions: dict[str, Action] = {
            "outside": self._outside,
            "shell": self._shell,
            "status": self._status,
            "log": self._log,
            "kill": self._kill,
            "boot": self._boot,
            "freeze": self._freeze,
            "thaw": self._thaw,
            "cut": self._cut,
            "heal": self._heal,
            "slow": self._slow,
            "help": self._help,
        }

    async def run(self) -> None:
        """Reads and carries out lines until `quit` or the end of input."""
        click.echo(WELCOME)
        while (line := await _read_line()) and (words := line.split()) != ["quit"]:
            if words:
                await self._carry_out(words, line)

    async def _carry_out(self, words: list[str], line: str) -> None:
        try:
            if words[0] in HOSTS:
                await self._on_host(words[0], line.strip().removeprefix(words[0]).strip())
            elif words[0] == "outside":
                await self._outside([line.strip().removeprefix(words[0]).strip()])
            elif words[0] in self._actions:
                await self._actions[words[0]](words[1:])
            else:
                raise LabError(f"there is no command {words[0]}; `help` lists them")
        except LabError as error:
            self.failed = True
            click.echo(f"lab: {error}")

    async def _on_host(self, host: str, command: str) -> None:
        if not command:
            raise LabError(f"`{host} COMMAND` runs a command, `shell {host}` gives a terminal")
        done = await self._pair.member(host).run(command, timeout_s=COMMAND_DEADLINE_S, on_output=_show)
        self._judge(done.status)

    async def _outside(self, words: list[str]) -> None:
        command = self._pair.networks.command("sh", "-c", " ".join(words))
        done = await trio.run_process(command, check=False)
        self._judge(done.returncode)

    def _judge(self, status: int) -> None:
        if status != 0:
            self.failed = True
            click.echo(f"lab: it ended with {status}")

    async def _shell(self, words: list[str]) -> None:
        [host] = _expect(words, "shell HOST", 1)
        member = self._pair.member(host)
        if member.state != "up":
            raise LabError(f"{host} is {member.state}")
        click.echo(f"lab: {shell.HOW_TO_LEAVE}")
        await trio.to_thread.run_sync(shell.talk, self._pair.folder / f"{host}.shell")

    async def _status(self, words: list[str]) -> None:
        _expect(words, "status", 0)
        for member in self._pair.members:
            click.echo(f"{member.name}: {member.state}")
            if member.state == "up":
                await member.run("ftctl status", on_output=_show)
        click.echo(f"cut: {', '.join(sorted(self._pair.networks.cuts)) or 'nothing'}")

    async def _log(self, words: list[str]) -> None:
        [host] = _expect(words, "log HOST", 1)
        click.echo(await self._pair.member(host).logs())

    async def _kill(self, words: list[str]) -> None:
        [host] = _expect(words, "kill HOST", 1)
        self._pair.member(host).kill()

    async def _boot(self, words: list[str]) -> None:
        [host] = _expect(words, "boot HOST", 1)
        await self._pair.member(host).boot()

    async def _freeze(self, words: list[str]) -> None:
        [host] = _expect(words, "freeze HOST", 1)
        self._pair.member(host).freeze()

    async def _thaw(self, words: list[str]) -> None:
        [host] = _expect(words, "thaw HOST", 1)
        self._pair.member(host).thaw()

    async def _cut(self, words: list[str]) -> None:
        if not 2 <= len(words) <= 3:
            raise LabError("it is: cut NETWORK HOST [from|to]")
        ways = {"from": Way.FROM, "to": Way.TO, "both": Way.BOTH}
        way = ways.get(words[2] if len(words) == 3 else "both")
        if way is None:
            raise LabError(f"a cut is `from` a host or `to` it, not `{words[2]}`")
        self._pair.networks.cut(_network(words[0]), self._pair.member(words[1]).name, way)

    async def _heal(self, words: list[str]) -> None:
        _expect(words, "heal", 0)
        self._pair.networks.heal()

    async def _slow(self, words: list[str]) -> None:
        if len(words) < 2:
            raise LabError("it is: slow NETWORK HOST [WORDS OF tc-netem(8)]")
        await self._pair.member(words[1]).slow(_network(words[0]), " ".join(words[2:]))

    async def _help(self, words: list[str]) -> None:
        click.echo(HELP)


def _network(name: str) -> Network:
    for network in NETWORKS:
        if network.name == name:
            return network
    raise LabError(f"there is no network {name}: {', '.join(network.name for network in NETWORKS)} are")


def _expect(words: list[str], usage: str, count: int) -> list[str]:
    if len(words) != count:
        raise LabError(f"it is: {usage}")
    return words


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def _read_line() -> str:
    """A line with its end; nothing at the end of input."""

    def ask() -> str:
        if not sys.stdin.isatty():
            return sys.stdin.readline()
        try:
            return input("lab> ") + "\n"
        except EOFError:
            return ""

    return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
