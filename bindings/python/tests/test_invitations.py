"""Whose invitations an application accepts: a list of identities, or a function that is asked."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from slim_bindings import Invitation, PyName, PySessionConfiguration, SLIMInviteError
from support import CHANNEL, application, greeted, group, run

QUICK: dict[str, Any] = {"timeout": datetime.timedelta(milliseconds=200), "max_retries": 1}


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_a_function_decides_about_each_invitation(endpoint: str, kind: str) -> None:
    asked: list[Invitation] = []

    def decide(invitation: Invitation) -> bool:
        asked.append(invitation)
        return invitation.subject.startswith("org/tests/alice_")

    async def decide_later(invitation: Invitation) -> bool:
        await asyncio.sleep(0.01)
        return decide(invitation)

    async def scenario() -> None:
        alice, mallory = await application(endpoint, "alice"), await application(endpoint, "mallory")
        bob = await application(endpoint, "bob", accept=decide if kind == "function" else decide_later)
        async with alice, bob, mallory:
            info = await group(alice, bob)
            await greeted(alice, info, bob)
            with pytest.raises(SLIMInviteError):
                await group(mallory, bob, mls_enabled=False, **QUICK)
        first = asked[0]
        assert (first.inviter, first.session_id, first.channel) == (alice.local_name, info.id, CHANNEL)
        assert (first.mls_enabled, first.issuer, first.metadata) == (True, None, {})
        assert {invitation.inviter for invitation in asked[1:]} == {mallory.local_name}
        assert not asked[-1].mls_enabled

    run(scenario())


def test_a_list_names_the_identities_that_may_invite(endpoint: str) -> None:
    async def scenario() -> None:
        alice, mallory = await application(endpoint, "alice"), await application(endpoint, "mallory")
        bob = await application(endpoint, "bob", accept=["org/tests/alice_*"])
        async with alice, bob, mallory:
            await greeted(alice, await group(alice, bob), bob)
            with pytest.raises(SLIMInviteError):
                await group(mallory, bob, **QUICK)

    run(scenario())


def test_one_to_one_sessions_are_invitations_too(endpoint: str) -> None:
    asked: list[Invitation] = []

    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        bob = await application(endpoint, "bob", accept=lambda invitation: asked.append(invitation) is not None)
        async with alice, bob:
            info = await alice.create_session(PySessionConfiguration.FireAndForget(**QUICK))
            with pytest.raises(SLIMInviteError):
                await alice.publish(info, b"hello", PyName("org", "tests", "bob"))
        assert asked and asked[0].channel is None

    run(scenario())


def test_a_function_that_fails_declines(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(invitation: Invitation) -> bool:
        raise KeyError(invitation.subject)

    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob", accept=fail)
        async with alice, bob:
            with pytest.raises(SLIMInviteError):
                await group(alice, bob, **QUICK)

    run(scenario())
    assert "accept failed, so the invitation of org/tests/alice" in caplog.text


@pytest.mark.parametrize("wrong", ["org/tests/alice_*", [1]])
def test_accept_is_a_function_or_a_list_of_texts(wrong: Any) -> None:
    async def scenario() -> None:
        with pytest.raises(TypeError, match="accept is a function or a list of subjects"):
            await application(None, "bob", accept=wrong)

    run(scenario())
