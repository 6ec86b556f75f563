"""Each documented error can be produced and caught as its class."""

from __future__ import annotations

import datetime
import signal
import time
from dataclasses import dataclass
from typing import ClassVar

import pytest
from slim_bindings import (
    MembershipEvent,
    PyName,
    PySessionConfiguration,
    PySessionDirection,
    PySessionInfo,
    Slim,
    SLIMInviteError,
    SLIMMessageLostError,
    SLIMSessionNotFoundError,
    SLIMTimeoutError,
    _inbox,
    init_tracing,
)
from support import (
    CHANNEL,
    TESTS,
    Process,
    application,
    free_port,
    greeted,
    group,
    identity,
    python,
    run,
    streaming,
)

IMPATIENT = {"max_retries": 1, "timeout": datetime.timedelta(milliseconds=500)}
#: (max_retries + 1) × timeout of the above.
PATIENCE = 1.0


def test_s34_connect_names_endpoint_and_cause_when_no_node_listens() -> None:
    async def scenario() -> None:
        app = await application(None, "alice")
        endpoint = f"http://127.0.0.1:{free_port()}"
        backoff = {"type": "fixed_interval", "interval": "10ms", "max_attempts": 3}
        with pytest.raises(ConnectionError, match=endpoint.removeprefix("http://")) as caught:
            await app.connect({"endpoint": endpoint, "tls": {"insecure": True}, "backoff": backoff})
        assert "refused" in str(caught.value).lower()
        assert app.conn_ids == {}

    run(scenario())


def test_s34_connect_tries_for_ten_seconds_by_default() -> None:
    async def scenario() -> None:
        app = await application(None, "alice")
        started = time.monotonic()
        with pytest.raises(ConnectionError, match="after 10 attempts"):
            await app.connect({"endpoint": f"http://127.0.0.1:{free_port()}", "tls": {"insecure": True}})
        assert 8.5 <= time.monotonic() - started <= 15

    run(scenario())


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"tls": {"insecure": True}}, "endpoint"),
        ({"endpoint": "http://127.0.0.1:1"}, "tls"),
        ({"endpoint": "http://127.0.0.1:1", "tls": {"insecure": True, "insecur": 1}}, r"tls\.insecur"),
        (
            {"endpoint": "http://127.0.0.1:1", "tls": {"insecure": True}, "keepalive": {"timeout": object()}},
            "keepalive",
        ),
        ([], "configuration"),
    ],
)
def test_a_wrong_configuration_is_a_value_error_with_the_path_of_the_key(config: object, path: str) -> None:
    async def scenario() -> None:
        app = await application(None, "alice")
        for call in (app.connect, app.run_server):
            with pytest.raises(ValueError, match=path):
                await call(config)  # type: ignore[arg-type]

    run(scenario())


def test_s16_certificates_that_cannot_be_read_fail_at_once_and_are_named() -> None:
    async def scenario() -> None:
        app = await application(None, "alice")
        started = time.monotonic()
        trust = {"ca_source": {"type": "file", "path": "no-such.pem"}}
        with pytest.raises(ConnectionError, match=r"tls\.ca_source \(no-such\.pem\) cannot be read"):
            await app.connect({"endpoint": f"https://127.0.0.1:{free_port()}", "tls": trust})
        source = {"source": {"type": "file", "cert": "no-such.pem", "key": "no-such.key"}}
        with pytest.raises(OSError, match=r"tls\.source\.cert \(no-such\.pem\) cannot be read"):
            await app.run_server({"endpoint": "https://127.0.0.1:0", "tls": source})
        assert time.monotonic() - started < 5

    run(scenario())


def test_a_server_on_a_port_in_use_is_an_os_error(endpoint: str) -> None:
    async def scenario() -> None:
        app = await application(None, "alice")
        address = endpoint.removeprefix("http://")
        with pytest.raises(OSError, match=address):
            await app.run_server({"endpoint": address, "tls": {"insecure": True}})

    run(scenario())


def test_only_moderators_create_sessions() -> None:
    async def scenario() -> None:
        app = await application(None, "alice")
        with pytest.raises(ValueError, match=r"receive\(\)"):
            await app.create_session(PySessionConfiguration.Streaming(PySessionDirection.BIDIRECTIONAL, CHANNEL))

    run(scenario())


def test_s40_unknown_sessions_are_named_in_the_words_of_old_programs() -> None:
    async def scenario() -> None:
        app = await application(None, "alice")
        unknown = PySessionInfo(77)
        for call in (
            lambda: app.publish(unknown, b"x", CHANNEL),
            lambda: app.publish_to(unknown, b"x"),
            lambda: app.invite(unknown, CHANNEL),
            lambda: app.remove(unknown, CHANNEL),
            lambda: app.members(unknown),
        ):
            with pytest.raises(Exception, match="session not found") as caught:
                await call()
            assert type(caught.value) is SLIMSessionNotFoundError
            assert caught.value.args == ("session not found", 77)
        with pytest.raises(Exception, match="Session ID not found: 77"):
            await app.receive(session=77)

    run(scenario())


def test_a_destination_that_is_neither_channel_nor_member_is_refused(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            with pytest.raises(ValueError, match="org/tests/stranger"):
                await alice.publish(info, b"x", PyName("org", "tests", "stranger"))
            with pytest.raises(TypeError, match="PyName"):
                await alice.publish(info, b"x", None)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="no message to answer"):
                await alice.publish_to(info, b"x")
            with pytest.raises(ValueError, match="limit is"):
                await alice.publish(info, bytes(5 * 1024 * 1024), CHANNEL)
            await alice.publish(info, b"still works", CHANNEL)
            assert (await bob.receive())[1] == b"still works"

    run(scenario())


def test_s61_only_the_moderator_changes_the_group(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            (bob_info,) = await greeted(alice, info, bob)
            with pytest.raises(PermissionError, match="only the moderator"):
                await bob.invite(bob_info, PyName("org", "tests", "carol"))
            with pytest.raises(PermissionError, match="close_session"):
                await alice.leave(info)
            with pytest.raises(ValueError, match="already in group"):
                await alice.invite(info, bob.local_name)
            with pytest.raises(ValueError, match="not a member"):
                await alice.remove(info, PyName("org", "tests", "carol"))

    run(scenario())


def test_s39_an_absent_invitee_is_named_after_the_documented_time(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        info = await alice.create_session(streaming(CHANNEL, **IMPATIENT))
        started = time.monotonic()
        with pytest.raises(SLIMInviteError, match="org/tests/absent") as caught:
            await alice.invite(info, PyName("org", "tests", "absent"))
        took = time.monotonic() - started
        assert PATIENCE * 0.9 <= took <= PATIENCE + 3
        error = caught.value
        assert isinstance(error, TimeoutError)
        assert error.invitee == PyName("org", "tests", "absent")
        assert (error.step, error.session_id) == ("discovery", info.id)
        assert PATIENCE * 0.9 <= error.seconds <= PATIENCE * 1.5

    run(scenario())


def test_s32_s64_another_secret_on_one_side_fails_that_invitation_and_the_group_goes_on(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        mallory = await application(endpoint, "mallory", secret="this is another secret of at least 32 bytes")
        async with alice, bob, mallory:
            info = await group(alice, bob, **IMPATIENT)
            await greeted(alice, info, bob)
            started = time.monotonic()
            with pytest.raises(SLIMInviteError, match="org/tests/mallory.*credentials") as caught:
                await alice.invite(info, mallory.local_name)
            assert PATIENCE * 0.9 <= time.monotonic() - started <= 2 * PATIENCE + 3
            assert caught.value.invitee.equal_without_id(mallory.local_name)
            await alice.publish(info, b"without mallory", CHANNEL)
            assert (await bob.receive(session=info.id))[1] == b"without mallory"
            assert len(await alice.members(info)) == 2
            counters = await mallory.svc._app.counters()
            assert counters["identity_refused"] >= 1

    run(scenario())


def test_an_unacknowledged_publish_is_raised_and_queued(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        info, member = await group_with_a_silent_member(alice, endpoint)
        async with alice:
            with member:
                started = time.monotonic()
                with pytest.raises(SLIMTimeoutError, match="silent") as raised:
                    await alice.publish(info, b"anybody?", CHANNEL)
                assert PATIENCE * 0.9 <= time.monotonic() - started <= PATIENCE + 3
                with pytest.raises(SLIMTimeoutError) as queued:
                    await alice.receive(session=info.id)
                assert queued.value.original_exception is raised.value
                assert raised.value.session_id == queued.value.session_id == info.id
                assert raised.value.message_id == queued.value.message_id

    run(scenario())


def test_a_timeout_error_carries_its_numbers() -> None:
    error = SLIMTimeoutError(7, 8)
    assert isinstance(error, TimeoutError)
    assert (error.message_id, error.session_id, error.message) == (7, 8, "SLIM timeout error")
    assert error.original_exception is None
    assert str(error) == "SLIM timeout error (session=8, message=7)"


def test_s42_lost_messages_are_an_error_of_receive_and_an_event_and_the_stream_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # TCP below makes a loss hard to provoke, so the native session is a script.
    @dataclass
    class Lost:
        sender: tuple[str, str, str, int]
        first: int
        last: int

    class Message:
        payload = b"after the gap"

    class Session:
        id = 5
        items: ClassVar[list[object]] = [Lost(("a", "b", "c", 9), 3, 4), Message()]

        def try_receive(self) -> object:
            return self.items.pop(0) if self.items else None

        def ready(self) -> None:
            raise AssertionError("everything is here")

        def facts(self) -> None:
            return None

    monkeypatch.setattr(_inbox.native, "Lost", Lost)
    monkeypatch.setattr(_inbox.native, "Message", Message)
    sender = PyName("a", "b", "c", 9)

    async def scenario() -> None:
        inbox = _inbox.SessionInbox(Session(), PySessionDirection.BIDIRECTIONAL, 0, lambda: None)  # type: ignore[arg-type]
        with pytest.raises(SLIMMessageLostError, match="messages 3 to 4 of a/b/c/.* are lost") as caught:
            await inbox.get()
        error = caught.value
        assert isinstance(error, SLIMTimeoutError)
        assert (error.session_id, error.message_id, error.sender) == (5, 3, sender)
        assert (await inbox.get())[1] == b"after the gap"
        assert await anext(inbox.events()) == MembershipEvent(sender, "lost", 3, 4)

    run(scenario())


def test_wrong_types_are_refused_by_name() -> None:
    async def scenario() -> None:
        name = PyName("a", "b", "c")
        provider, verifier = identity(name)
        with pytest.raises(TypeError, match="provider"):
            await Slim.new(name, verifier, verifier)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="verifier"):
            await Slim.new(name, provider, provider)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="PyName"):
            await Slim.new("a/b/c", provider, verifier)  # type: ignore[arg-type]

    run(scenario())


def test_s50_tracing_configurations_are_checked_with_the_path() -> None:
    with pytest.raises(ValueError, match="log_level"):
        run(init_tracing({"log_level": "loud"}))
    with pytest.raises(ValueError, match="colour"):
        run(init_tracing({"colour": True}))


async def group_with_a_silent_member(moderator: Slim, endpoint: str) -> tuple[PySessionInfo, Process]:
    """A group whose other member is stopped: it is there and does not answer."""
    member = python(str(TESTS / "member.py"), endpoint, "silent", stdin=True)
    try:
        member.wait_for_line('"ready"')
        info = await group(moderator, **IMPATIENT)
        await moderator.invite(info, PyName("org", "tests", "silent"))
    except BaseException:
        member.close()
        raise
    member.signal(signal.SIGSTOP)
    return info, member
