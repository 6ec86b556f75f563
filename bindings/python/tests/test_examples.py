"""The programs of examples/python, as a user starts them."""

from __future__ import annotations

import datetime

from support import ROOT, python

EXAMPLES = ROOT / "examples" / "python"
SECRET = "examples share this secret of at least 32 bytes"


def test_a_moderator_and_three_participants_talk_and_end(endpoint: str) -> None:
    names = [f"org/examples/participant{number}" for number in (1, 2, 3)]
    common = ("--endpoint", endpoint, "--secret", SECRET)
    participants = [python(str(EXAMPLES / "participant.py"), *common, "--name", name) for name in names]
    try:
        for participant in participants:
            participant.wait_for_line("waits for an invitation")
        invite = [argument for name in names for argument in ("--invite", name)]
        with python(str(EXAMPLES / "moderator.py"), *common, *invite, "--message", "good morning") as moderator:
            assert moderator.wait() == 0, moderator.output
            for name in names:
                short = name.rsplit("/", 1)[1]
                assert f"{short} joined" in moderator.output, moderator.output
                assert f"{short}: good morning to you too" in moderator.output, moderator.output
            assert "epoch 3" in moderator.output, moderator.output
        for participant, name in zip(participants, names, strict=True):
            assert participant.wait() == 0, participant.output
            assert "moderator: good morning" in participant.output, participant.output
            others = [other.rsplit("/", 1)[1] for other in names if other != name]
            for other in others:
                assert f"{other}: good morning to you too" in participant.output, participant.output
            assert "closed by its moderator" in participant.output, participant.output
    finally:
        for participant in participants:
            participant.close()


def test_a_moderator_without_anybody_says_who_is_missing(endpoint: str) -> None:
    command = [str(EXAMPLES / "moderator.py"), "--endpoint", endpoint, "--secret", SECRET]
    with python(*command, "--invite", "org/examples/absent", "--timeout", "0.2", "--retries", "1") as moderator:
        assert moderator.wait() == 1, moderator.output
        assert "org/examples/absent" in moderator.output, moderator.output
        assert "Traceback" not in moderator.output, moderator.output


def test_workers_take_turns_or_one_gets_everything(endpoint: str) -> None:
    program = str(EXAMPLES / "fire_and_forget.py")
    for number, (switches, instances) in enumerate((([], 2), (["--sticky"], 1), (["--mls"], 1))):
        common = (program, "--endpoint", endpoint, "--secret", SECRET)
        worker = f"org/examples/worker{number}"
        with python(*common, "--name", worker) as one, python(*common, "--name", worker) as other:
            for process in (one, other):
                process.wait_for_line("waits for messages")
            sending = ("--name", "org/examples/client", "--to", worker, "--count", "4", *switches)
            with python(*common, *sending) as client:
                assert client.wait() == 0, client.output
                assert [line.split(": ")[1] for line in client.lines] == [f"got message {n}" for n in range(4)]
                assert len({line.split(": ")[0] for line in client.lines}) == instances
            if instances == 2:
                for process in (one, other):
                    process.wait_for_line("org/examples/client")
                    process.wait_for_line("is done")


def test_a_clock_tells_the_time_and_an_absent_one_is_named(endpoint: str) -> None:
    common = (str(EXAMPLES / "request_reply.py"), "--endpoint", endpoint, "--secret", SECRET)
    asking = ("--name", "org/examples/client", "--ask", "org/examples/clock")
    with python(*common, "--name", "org/examples/clock") as clock:
        clock.wait_for_line("waits for requests")
        with python(*common, *asking) as client:
            assert client.wait() == 0, client.output
            told = client.lines[-1].split(" says: ")[1]
            assert abs(datetime.datetime.fromisoformat(told).timestamp() - datetime.datetime.now().timestamp()) < 60
        clock.wait_for_line("what time is it?")
        clock.close()
        with python(*common, *asking) as client:
            assert client.wait() == 1, client.output
            assert "Traceback" not in client.output and client.lines[-1], client.output
