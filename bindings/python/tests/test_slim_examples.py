"""The command `slim-examples`, over real processes that are read and written through pipes and terminals."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import pty
import re
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from slim_bindings.examples import _command
from support import DEADLINE, ROOT, SECRET, Process, free_port, python

KEYS = ROOT / "core/auth/tests/vectors"
CHANNEL = "org/chat/room"


def examples(*arguments: str, stdin: bool = False, **environment: str) -> Process:
    """A program that knows the secret from its environment."""
    return python(
        "-m",
        "slim_bindings.examples",
        *arguments,
        environment={"SLIM_SHARED_SECRET": SECRET, **environment},
        stdin=stdin,
    )


def node(endpoint: str) -> str:
    return json.dumps({"endpoint": endpoint, "tls": {"insecure": True}})


def refusal(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and last line of a program that cannot run."""
    with examples(*arguments, **environment) as program:
        code = program.wait()
        return code, program.lines[-1]


@pytest.mark.parametrize("switch", ["", "--sticky", "--enable-mls"])
def test_s70_ff_sends_and_the_receiver_echoes(endpoint: str, switch: str) -> None:
    slim = ("--slim", node(endpoint))
    local, remote = f"org/ff{switch}/alice", f"org/ff{switch}/bob"
    with examples("ff", "--local", remote, *slim) as receiver:
        receiver.wait_for_line("waits for messages")
        options = ("--message", "hello", "--iterations", "2", *([switch] if switch else []))
        with examples("ff", "--local", local, "--remote", remote, *slim, *options) as sender:
            assert sender.wait() == 0, sender.output
            assert sender.lines[0] == f"sent to {remote}: hello"
            assert re.fullmatch(f"received from {remote}/[0-9a-f-]+: hello from {remote}/[0-9a-f-]+", sender.lines[1])
            assert len(sender.lines) == 4
        assert re.fullmatch(f"received from {local}/[0-9a-f-]+: hello", receiver.lines[-1])
        assert len(receiver.lines) == 3


@pytest.mark.parametrize(("switch", "share"), [("", [3, 3]), ("--sticky", [6])])
def test_s70_ff_reaches_the_instances_in_turn_or_with_sticky_one(endpoint: str, switch: str, share: list[int]) -> None:
    slim, remote = ("--slim", node(endpoint)), f"org/turns{switch}/bob"
    with ExitStack() as stack:
        receivers = [stack.enter_context(examples("ff", "--local", remote, *slim)) for _ in range(2)]
        for receiver in receivers:
            receiver.wait_for_line("waits for messages")
        options = ("--message", "hello", "--iterations", "6", *([switch] if switch else []))
        sender = stack.enter_context(examples("ff", "-l", "org/turns/alice", "-r", remote, *slim, *options))
        assert sender.wait() == 0, sender.output
        senders = [line.split(":")[0] for line in sender.lines if line.startswith("received")]
        assert sorted(Counter(senders).values()) == share


def test_s70_ff_to_nobody_fails_with_one_line(endpoint: str) -> None:
    arguments = ("ff", "-l", "org/ff/alice", "-r", "org/ff/nobody", "-m", "hello", "--slim", endpoint)
    code, line = refusal(*arguments)
    assert code == 1
    assert line.startswith("slim-examples: ")
    assert "org/ff/nobody" in line and "discovery" in line


def test_s71_rr_prints_the_reply(endpoint: str) -> None:
    slim = ("--slim", node(endpoint))
    with examples("rr", "--local", "org/rr/bob", *slim) as server:
        server.wait_for_line("waits for messages")
        arguments = ("--local", "org/rr/alice", "--remote", "org/rr/bob", "--message", "what time is it?")
        with examples("rr", *arguments, *slim, "--enable-mls") as client:
            assert client.wait() == 0, client.output
            assert client.lines[0] == "request to org/rr/bob: what time is it?"
            assert re.match("reply from org/rr/bob/.*: what time is it[?] from org/rr/bob/", client.lines[1])


def test_s71_rr_without_a_reply_says_so_and_fails(endpoint: str) -> None:
    slim = ("--slim", node(endpoint))
    with examples("ff", "--local", "org/mute/bob", *slim) as server:
        server.wait_for_line("waits for messages")
        with examples("rr", "-l", "org/mute/alice", "-r", "org/mute/bob", "-m", "first", *slim, "-i", "2") as client:
            client.wait_for_line("reply from")
            server.signal(signal.SIGSTOP)
            assert client.wait() == 1
            assert "not acknowledged by org/mute/bob" in client.lines[-1] or "no answer" in client.lines[-1]
        server.signal(signal.SIGCONT)


def test_s72_pubsub_is_a_chat_that_scripts_can_lead(endpoint: str) -> None:
    slim = ("--slim", node(endpoint))
    with ExitStack() as stack:

        def member(name: str, *arguments: str) -> Process:
            return stack.enter_context(examples("pubsub", "--local", f"org/chat/{name}", *slim, *arguments, stdin=True))

        bob, carol, dave = member("bob"), member("carol", "--remote", CHANNEL), member("dave")
        for process in (bob, carol, dave):
            process.wait_for_line("waits for an invitation")
        invites = ("--remote", CHANNEL, "--invites", "org/chat/bob", "--invites", "org/chat/carol", "--enable-mls")
        alice = member("alice", *invites)
        for name in ("bob", "carol"):
            alice.wait_for_line(f"org/chat/{name}/")
        for process in (bob, carol):
            assert process.wait_for_line("* joined") == f"* joined {CHANNEL}"
        bob.wait_for_line("* org/chat/carol/")

        alice.write("good morning")
        for process in (bob, carol):
            assert process.wait_for_line("good morning").startswith("org/chat/alice/")
        bob.write("and to you")
        assert carol.wait_for_line("and to you").startswith("org/chat/bob/")
        assert not any("good morning" in line for line in alice.lines), "nobody hears itself"

        alice.write("invite org/chat/dave")
        alice.wait_for_line("* org/chat/dave/")
        dave.wait_for_line(f"* joined {CHANNEL}")
        dave.write("members")
        assert dave.wait_for_line("org/chat/alice/").endswith(" (moderator)")
        assert dave.wait_for_line("  org/chat/dave/").endswith(" (you)")
        assert sum(line.startswith("  org/chat/") for line in dave.lines[-4:]) == 4

        dave.write("invite org/chat/erin")
        assert dave.wait_for_line("! ") == "! only the moderator can invite members"
        dave.write("invite me to the party")
        bob.wait_for_line("invite me to the party")
        alice.write("invite nonsense")
        assert alice.wait_for_line("! ") == "! 'nonsense' is not organisation/namespace/application"

        alice.write("remove org/chat/dave")
        alice.wait_for_line("* removed org/chat/dave")
        dave.wait_for_line("* the group is over: this member was removed by the moderator")
        assert dave.wait() == 0
        carol.wait_for_line("* org/chat/dave")

        carol.write("exit")
        assert carol.wait() == 0
        bob.wait_for_line("left")
        alice.write("exit")
        bob.wait_for_line("* the group is over: closed by its moderator")
        assert alice.wait() == bob.wait() == 0
        everything = alice.output + bob.output + carol.output + dave.output
        assert "message>" not in everything and "\x1b" not in everything and "\r" not in everything


def test_s72_the_end_of_the_input_is_exit_and_what_was_typed_before_arrives(endpoint: str) -> None:
    slim, channel = ("--slim", node(endpoint)), "org/piped/room"
    with examples("pubsub", "--local", "org/piped/bob", *slim, stdin=True) as bob:
        bob.wait_for_line("waits for an invitation")
        invites = ("--local", "org/piped/alice", "--remote", channel, "--invites", "org/piped/bob")
        with examples("pubsub", *invites, *slim, stdin=True) as alice:
            for number in range(20):
                alice.write(f"line {number}")
            assert alice._process.stdin is not None
            alice._process.stdin.close()
            assert alice.wait() == 0, alice.output
        bob.wait_for_line("line 19")
        assert bob.wait() == 0
        heard = [line.split(": ")[1] for line in bob.lines if ": line" in line]
        assert heard == [f"line {number}" for number in range(20)]


def test_s72_in_a_terminal_there_is_a_prompt_without_escape_codes(endpoint: str, tmp_path: Path) -> None:
    slim, channel = node(endpoint), "org/terminal/room"
    with examples("pubsub", "--local", "org/terminal/bob", "--slim", slim, stdin=True) as bob:
        bob.wait_for_line("waits for an invitation")
        arguments = ["--local", "org/terminal/alice", "--remote", channel, "--invites", "org/terminal/bob"]
        child, terminal = pty.fork()
        if child == 0:
            os.environ["SLIM_SHARED_SECRET"] = SECRET
            os.execv(sys.executable, [sys.executable, "-m", "slim_bindings.examples", "pubsub", *arguments, "-s", slim])
        try:
            read_until(terminal, "message> ")
            os.write(terminal, b"hello from a terminal\n")
            bob.wait_for_line("hello from a terminal")
            bob.write("hello terminal")
            shown = read_until(terminal, ": hello terminal\r\nmessage> ")
            assert "\x1b" not in shown
            os.write(terminal, b"exit\n")
            bob.wait_for_line("* the group is over")
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        except BaseException:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        finally:
            os.close(terminal)


def read_until(terminal: int, text: str) -> str:
    """What a terminal shows, up to this text."""
    shown, deadline = "", time.monotonic() + DEADLINE
    while text not in shown:
        assert time.monotonic() < deadline, shown
        shown += os.read(terminal, 4096).decode()
    return shown


def test_s73_server_runs_a_node_until_it_is_told_to_stop() -> None:
    port = free_port()
    for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
        with examples("server", "-s", f"127.0.0.1:{port}") as server:
            assert server.wait_for_line("listens") == f"a node listens on 127.0.0.1:{port}"
            slim = ("--slim", f"http://127.0.0.1:{port}")
            with examples("ff", "--local", "org/server/bob", *slim) as receiver:
                receiver.wait_for_line("waits for messages")
                sending = ("ff", "-l", "org/server/alice", "-r", "org/server/bob", "-m", "hello", *slim)
                with examples(*sending) as sender:
                    assert sender.wait() == 0, sender.output
                server.signal(number)
                assert server.wait() == expected
                assert server.lines[-1] == "the node has stopped"


def test_s73_a_server_whose_port_is_taken_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, line = refusal("server", "-s", address)
        assert code == 1
        assert line.startswith(f"slim-examples: cannot serve {address}")


def test_s75_every_option_is_an_environment_variable_and_the_command_line_counts_more(endpoint: str) -> None:
    common = {"SLIM_SLIM": node(endpoint)}
    with examples("ff", **common, SLIM_LOCAL="org/env/bob") as receiver:
        receiver.wait_for_line("org/env/bob")
        settings = {
            "SLIM_LOCAL": "org/env/alice",
            "SLIM_REMOTE": "org/env/bob",
            "SLIM_MESSAGE": "from the environment",
            "SLIM_ITERATIONS": "3",
            "SLIM_STICKY": "true",
            "SLIM_ENABLE_MLS": "1",
        }
        with examples("ff", **common, **settings) as sender:
            assert sender.wait() == 0, sender.output
            assert sender.lines.count("sent to org/env/bob: from the environment") == 3
        with examples("ff", "-m", "given", "-i", "1", **common, **settings) as sender:
            assert sender.wait() == 0, sender.output
            assert [line for line in sender.lines if line.startswith("sent")] == ["sent to org/env/bob: given"]
        invites = {"SLIM_INVITES": "org/env/carol org/env/dave", "SLIM_REMOTE": "org/env/room"}
        with ExitStack() as stack:
            for name in ("carol", "dave"):
                process = examples("pubsub", **common, SLIM_LOCAL=f"org/env/{name}", stdin=True)
                stack.enter_context(process).wait_for_line("waits")
            chat = stack.enter_context(examples("pubsub", **common, **invites, SLIM_LOCAL="org/env/erin", stdin=True))
            chat.wait_for_line("* org/env/carol/")
            chat.wait_for_line("* org/env/dave/")


def test_s75_the_help_names_every_variable() -> None:
    for command, options in {
        "ff": "LOCAL REMOTE SLIM SHARED_SECRET JWT BUNDLE ALGORITHM JWT_KEY MESSAGE ITERATIONS STICKY ENABLE_MLS",
        "rr": "LOCAL REMOTE SLIM SHARED_SECRET JWT BUNDLE AUDIENCE MESSAGE ITERATIONS STICKY ENABLE_MLS",
        "pubsub": "LOCAL REMOTE SLIM SHARED_SECRET JWT BUNDLE AUDIENCE INVITES ENABLE_MLS",
        "server": "SLIM",
    }.items():
        with examples(command, "--help") as program:
            assert program.wait() == 0
            for option in options.split():
                assert f"[SLIM_{option}]" in program.output, command


def tokens(key: str, *audience: str, algorithm: str = "ES256") -> tuple[str, ...]:
    """Options of an application that signs its own tokens."""
    for_whom = ("--audience", *audience) if audience else ()
    bundle = str(KEYS / "jwks.json")
    return ("--jwt", str(KEYS / key), "--bundle", bundle, "--algorithm", algorithm, *for_whom)


@pytest.mark.parametrize(("algorithm", "key"), [("ES256", "p256.pem"), ("ES384", "p384.pem")])
def test_s74_jwt_identities_talk_when_the_audience_fits_and_time_out_when_it_does_not(
    endpoint: str, algorithm: str, key: str
) -> None:
    remote = f"org/jwt/{algorithm.lower()}"
    slim = ("--slim", node(endpoint))
    with examples("ff", "-l", remote, *slim, *tokens(key, "us", "them", algorithm=algorithm)) as receiver:
        receiver.wait_for_line("waits for messages")
        sending = ("ff", "-l", "org/jwt/alice", "-r", remote, "-m", "hello", *slim)
        with examples(*sending, *tokens(key, "them", algorithm=algorithm), "--enable-mls") as sender:
            assert sender.wait() == 0, sender.output
            assert "hello from org/jwt/" in sender.output
        with examples(*sending, *tokens(key, "nobody", algorithm=algorithm)) as sender:
            assert sender.wait() == 1
            assert sender.lines[-1].startswith("slim-examples: ") and remote in sender.lines[-1]
            assert "Traceback" not in sender.output
        assert sum("received from" in line for line in receiver.lines) == 1


def test_s74_options_of_tokens_that_do_not_fit_are_named(endpoint: str, tmp_path: Path) -> None:
    ff = ("ff", "--local", "org/jwt/alice", "--slim", endpoint)
    absent = str(tmp_path / "absent.pem")
    for arguments, code, text in (
        ((*ff, "--jwt", absent), 1, "--bundle"),
        ((*ff, "--jwt", absent, "--bundle", str(KEYS / "jwks.json")), 1, absent),
        ((*ff, *tokens("p256.pem"), "--bundle", absent), 1, absent),
        ((*ff, *tokens("p256.pem", algorithm="none")), 2, "'none' is none of HS256"),
        ((*ff, *tokens("p256.pem", algorithm="ES384")), 1, "p256.pem"),
    ):
        exit_code, line = refusal(*arguments)
        assert exit_code == code, (arguments, line)
        assert text in line, arguments


def test_mistakes_are_answered_with_one_line_that_names_them(endpoint: str) -> None:
    ff = ("ff", "--local", "org/a/b")
    for arguments, environment, code, text in (
        (("ff", "--local", "nonsense"), {}, 2, "'nonsense' is not organisation/namespace/application"),
        (("ff",), {}, 2, "--local"),
        (("ff",), {"SLIM_LOCAL": "a/b"}, 2, "environment variable SLIM_LOCAL: 'a/b' is not"),
        ((*ff, "-m", "x", "-i", "0"), {}, 2, "'0' is not a number of at least 1"),
        (ff, {"SLIM_STICKY": "perhaps"}, 2, "environment variable SLIM_STICKY: 'perhaps' is neither true nor false"),
        ((*ff, "--slim", "{"), {}, 2, "--slim: not JSON"),
        ((*ff, "--slim", "{}"), {}, 2, 'it has no "endpoint"'),
        ((*ff, "-m", "x"), {}, 1, "--message needs --remote"),
        (ff, {"SLIM_SHARED_SECRET": ""}, 1, "--shared-secret"),
        (("pubsub", "--local", "org/a/b", "--invites", "org/a/c"), {}, 1, "--invites needs --remote"),
        ((*ff, "--slim", json.dumps({"endpoint": endpoint, "tsl": {}})), {}, 1, "tsl"),
    ):
        exit_code, line = refusal(*arguments, **environment)
        assert exit_code == code, arguments
        assert text in line, arguments


def test_ctrl_c_leaves_cleanly(endpoint: str) -> None:
    for arguments in (("ff", "--local", "org/c/bob"), ("pubsub", "--local", "org/c/bob")):
        with examples(*arguments, "--slim", endpoint, stdin=True) as program:
            program.wait_for_line("waits for")
            started = time.monotonic()
            program.signal(signal.SIGINT)
            assert program.wait() == 130
            assert time.monotonic() - started < 5
            assert "Traceback" not in program.output and len(program.lines) == 1


def test_the_package_installs_the_command() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="slim-examples")
    assert command.load() is _command.main


def token_of_an_issuer(subject: str, folder: Path) -> tuple[str, str]:
    """Files of a token that the test signs like an issuer, and of the private key that the token names."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    own = ec.generate_private_key(ec.SECP256R1())
    point = own.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    now = int(time.time())
    claims = {
        "sub": subject,
        "iat": now,
        "exp": now + 600,
        "aud": ["us"],
        "pubkey": base64.b64encode(point).decode(),
    }

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    signed = ".".join(part(json.dumps(value).encode()) for value in ({"alg": "ES256", "typ": "JWT"}, claims))
    issuer = serialization.load_pem_private_key((KEYS / "p256.pem").read_bytes(), None)
    assert isinstance(issuer, ec.EllipticCurvePrivateKey)
    r, s = utils.decode_dss_signature(issuer.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    token, key = folder / "token", folder / "key.pem"
    token.write_text(f"{signed}.{part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}")
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key.write_bytes(own.private_bytes(*pem))
    return str(token), str(key)


def test_s74_a_token_that_somebody_else_signed_is_an_identity_with_its_key(endpoint: str, tmp_path: Path) -> None:
    slim, remote = ("--slim", node(endpoint)), "org/jwt/given"
    token, key = token_of_an_issuer("org/jwt/alice", tmp_path)
    with examples("ff", "-l", remote, *slim, *tokens("p256.pem", "us")) as receiver:
        receiver.wait_for_line("waits for messages")
        given = ("--jwt", token, "--jwt-key", key, "--bundle", str(KEYS / "jwks.json"), "--audience", "us")
        sending = ("ff", "-l", "org/jwt/alice", "-r", remote, "-m", "hello", *slim)
        with examples(*sending, *given) as sender:
            assert sender.wait() == 0, sender.output
            assert "hello from org/jwt/given" in sender.output
        code, line = refusal(*sending, "--jwt", token, "--bundle", str(KEYS / "jwks.json"), "--audience", "us")
        assert (code, "private key" in line) == (1, True), line
