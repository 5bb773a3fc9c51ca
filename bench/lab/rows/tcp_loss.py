"""A TCP connection through host power loss: what a client's stream of answers lost or got twice."""

from bench.lab.lab import Lab
from bench.model import Row, Target, row


async def measure(lab: Lab) -> list[Row]:
    """Bytes of all kills together, and connections that did not live through theirs."""
    kills = await lab.kills()
    name = f"{len(kills)} host power losses"
    none = Target(0, at_most=True)
    damage = sum(
        kill.chain["lost_bytes"] + kill.chain["repeated_bytes"] + kill.chain["wrong_bytes"] for kill in kills
    )
    return [
        row(f"TCP through {name}: bytes lost, repeated or wrong", "bytes", float(damage), target=none),
        row(
            f"TCP through {name}: connections not whole to their end",
            "",
            float(sum(not kill.chain["intact"] for kill in kills)),
            target=none,
        ),
    ]
