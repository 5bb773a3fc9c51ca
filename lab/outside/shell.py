"""Commands inside the guest, over the port that gives a shell to whoever connects."""

import secrets
from dataclasses import dataclass

import trio

from lab.errors import LabError
from lab.outside.connecting import Service


@dataclass(frozen=True)
class Said:
    """A command that has run in the guest."""

    status: int
    output: str


async def run(service: Service, text: str, *, timeout_s: float = 60.0) -> Said:
    """Runs a shell's text in the guest, to its end.

    Raises LabError when the guest does not answer, ends the connection, or takes longer than `timeout_s`.
    """
    token = secrets.token_hex(8)
    received = b""
    try:
        with trio.fail_after(timeout_s):
            stream = await service.open()
            async with stream:
                # The token is put together inside: an echo of the command is not its end.
                end_mark = f"echo {token[:8]}''{token[8:]} $?"
                await stream.send_all(f"( {text}\n) </dev/null\n{end_mark}\n".encode())
                while (end := _end(received, token)) is None:
                    data = await stream.receive_some(65536)
                    if not data:
                        raise LabError(f"the guest closed the connection during `{text}`: {received!r}")
                    received += bytes(data)
    except trio.TooSlowError as error:
        raise LabError(f"the guest did not end `{text}` within {timeout_s:.0f} s: {received!r}") from error
    except (OSError, trio.BrokenResourceError) as error:
        raise LabError(f"the guest's shell at {service} cannot be asked `{text}`: {error}") from error
    return end


def _end(received: bytes, token: str) -> Said | None:
    before, mark, after = received.partition(token.encode())
    if not mark or b"\n" not in after:
        return None
    return Said(int(after.split(b"\n")[0]), before.decode(errors="replace"))
