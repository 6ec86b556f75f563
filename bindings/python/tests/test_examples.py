"""The pair of examples/python, as a user starts it."""

from __future__ import annotations

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
