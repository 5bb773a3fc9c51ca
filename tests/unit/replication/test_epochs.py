"""Epoch accounting and the gate."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ftd.replication.epochs import EpochAccount, EpochOrderError, OutputGate


class Account(RuleBasedStateMachine):
    """Seals, sends and acknowledges in any order that the account allows, with output all the while."""

    def __init__(self) -> None:
        super().__init__()
        self.account = EpochAccount(in_flight_max=3)
        self.gate: OutputGate[int] = OutputGate()
        self.made: list[tuple[int, int]] = []
        self.out: list[int] = []

    @rule()
    def put_out(self) -> None:
        item = len(self.made)
        epoch = self.account.sealed + 1
        self.made.append((epoch, item))
        self.gate.hold(epoch, item)

    @precondition(lambda self: self.account.can_seal)
    @rule()
    def seal(self) -> None:
        self.account.seal()

    @precondition(lambda self: self.account.sent < self.account.sealed)
    @rule()
    def send(self) -> None:
        self.account.send()

    @precondition(lambda self: self.account.acknowledged < self.account.sent)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        epoch = data.draw(st.integers(self.account.acknowledged + 1, self.account.sent))
        self.account.acknowledge(epoch)
        self.out += self.gate.release(self.account.released)

    @invariant()
    def positions_are_in_order(self) -> None:
        account = self.account
        assert account.released <= account.acknowledged <= account.sent <= account.sealed
        assert account.sealed - account.acknowledged <= 3

    @invariant()
    def exactly_the_output_of_acknowledged_epochs_is_out_in_order(self) -> None:
        assert self.out == [item for epoch, item in self.made if epoch <= self.account.acknowledged]
        assert len(self.gate) == len(self.made) - len(self.out)


TestAccount = Account.TestCase


def test_what_is_out_of_turn_is_refused() -> None:
    account = EpochAccount(in_flight_max=2)
    with pytest.raises(EpochOrderError, match="not sealed"):
        account.send()
    account.seal()
    account.seal()
    with pytest.raises(EpochOrderError, match="2 epochs are in flight"):
        account.seal()
    account.send()
    for epoch in (0, 2):
        with pytest.raises(EpochOrderError, match=f"epoch {epoch} acknowledged"):
            account.acknowledge(epoch)
    account.acknowledge(1)
    with pytest.raises(EpochOrderError):
        account.acknowledge(1)
    with pytest.raises(ValueError, match="at least one"):
        EpochAccount(in_flight_max=0)


def test_gate_lets_all_go_or_drops_all() -> None:
    gate: OutputGate[str] = OutputGate()
    gate.hold(1, "a")
    gate.hold(2, "b")
    with pytest.raises(EpochOrderError):
        gate.hold(1, "late")
    assert gate.release_all() == ["a", "b"]
    assert gate.release_all() == []
    gate.hold(3, "c")
    assert gate.drop_all() == 1
    assert gate.release(9) == []
