"""PyName, and identities and configurations that need no network."""

from __future__ import annotations

import datetime

import pytest
import slim_bindings
from slim_bindings import (
    PyIdentityProvider,
    PyIdentityVerifier,
    PyName,
    PySessionConfiguration,
    PySessionDirection,
    parse_error_message,
)
from slim_bindings._identity import subject_base

ANY = 2**128 - 1


def test_s31_text_is_the_path_and_the_id_once_there_is_one() -> None:
    name = PyName("agntcy", "namespace", "moderator")
    assert f"{name}" == "agntcy/namespace/moderator"
    name.id = 1
    assert str(name) == "agntcy/namespace/moderator/00000000-0000-0000-0000-000000000001"
    assert repr(name) == f"PyName('{name}')"


def test_id_is_all_ones_until_it_is_set() -> None:
    name = PyName("a", "b", "c")
    assert name.id == ANY
    name.set_id(2**127)
    assert name.id == 2**127
    assert PyName("a", "b", "c", 7).id == 7
    assert PyName("a", "b", "c", id=7) == PyName("a", "b", "c", 7)


@pytest.mark.parametrize("id", [-1, 2**128])
def test_id_outside_128_bits_is_refused(id: int) -> None:
    with pytest.raises(ValueError, match="128 bits"):
        PyName("a", "b", "c", id)


def test_components_are_the_hashes_of_the_wire_document() -> None:
    name = PyName("org", "default", "app", 5)
    assert name.components() == [0x873E580376EA963B, 0x219303C7C93F9668, 0x86CB542776A5F6D5, 5]
    assert name.components_strings() == ["org", "default", "app"]


def test_equality_counts_the_id_and_equal_without_id_does_not() -> None:
    one, other = PyName("a", "b", "c", 1), PyName("a", "b", "c", 2)
    assert one != other
    assert one.equal_without_id(other)
    assert not one.equal_without_id(PyName("a", "b", "d"))
    assert one == PyName("a", "b", "c", 1)
    assert one != "a/b/c"


def test_a_name_stays_in_its_dict_when_it_gets_an_id() -> None:
    name = PyName("a", "b", "c")
    table = {name: "value"}
    name.id = 9
    assert table[name] == "value"


@pytest.mark.parametrize("components", [("", "b", "c"), ("a", "b", "x" * 129)])
def test_impossible_components_are_refused(components: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="name"):
        PyName(*components)


def test_components_that_are_no_text_are_refused() -> None:
    with pytest.raises(TypeError, match="str"):
        PyName("a", "b", 3)  # type: ignore[arg-type]


def test_s32_identities_are_variants_of_their_class_and_hide_the_secret() -> None:
    provider = PyIdentityProvider.SharedSecret(identity="me", shared_secret="canary")
    verifier = PyIdentityVerifier.SharedSecret("me", "canary")
    assert isinstance(provider, PyIdentityProvider)
    assert isinstance(verifier, PyIdentityVerifier)
    assert (provider.identity, provider.shared_secret) == ("me", "canary")
    assert provider == PyIdentityProvider.SharedSecret("me", "canary")
    assert provider != verifier
    assert "canary" not in f"{provider!r} {verifier} {provider}"


@pytest.mark.parametrize("bad", [{"identity": ""}, {"shared_secret": ""}])
def test_empty_identity_and_secret_are_refused(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is empty"):
        PyIdentityProvider.SharedSecret(**{"identity": "me", "shared_secret": "x", **bad})


def test_colons_and_white_space_of_an_identity_are_percent_encoded() -> None:
    assert subject_base("did:key:z6 x\u00a0y/ü%") == "did%3Akey%3Az6%20x%C2%A0y/ü%"
    assert subject_base("agntcy/namespace/moderator") == "agntcy/namespace/moderator"


def test_directions_compare_with_numbers() -> None:
    assert [PySessionDirection.SENDER, PySessionDirection.RECEIVER, PySessionDirection.BIDIRECTIONAL] == [
        0,
        1,
        2,
    ]


def test_s36_streaming_keeps_its_arguments_and_has_the_documented_defaults() -> None:
    topic = PyName("a", "b", "c")
    config = PySessionConfiguration.Streaming(PySessionDirection.SENDER, topic=topic)
    assert isinstance(config, PySessionConfiguration)
    assert config.session_direction == PySessionDirection.SENDER
    assert config.topic == topic
    assert (config.moderator, config.max_retries, config.mls_enabled) == (False, 0, False)
    assert config.timeout == datetime.timedelta(seconds=1)
    assert config == PySessionConfiguration.Streaming(0, topic)
    assert config != PySessionConfiguration.Streaming(0, topic, True)


@pytest.mark.parametrize(
    "bad",
    [
        {"max_retries": -1},
        {"max_retries": 2**32},
        {"timeout": datetime.timedelta(0)},
        {"session_direction": 3},
    ],
)
def test_streaming_refuses_values_out_of_range(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        PySessionConfiguration.Streaming(**{"session_direction": 0, "topic": PyName("a", "b", "c"), **bad})


@pytest.mark.parametrize("bad", [{"topic": "a/b/c"}, {"max_retries": 1.5}, {"timeout": 5}])
def test_streaming_refuses_values_of_another_type(bad: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        PySessionConfiguration.Streaming(**{"session_direction": 0, "topic": PyName("a", "b", "c"), **bad})


def test_error_texts_of_the_old_form_are_taken_apart() -> None:
    assert parse_error_message("message=12 session=34: no ack: late") == (12, 34, "no ack: late")
    with pytest.raises(ValueError, match="message=N"):
        parse_error_message("something else")


def test_the_build_describes_itself() -> None:
    assert slim_bindings.get_version() == slim_bindings.__version__
    assert slim_bindings.get_build_profile() in ("debug", "release")
    assert slim_bindings.__version__ in slim_bindings.get_build_info()
    assert slim_bindings.SESSION_UNSPECIFIED == 2**32 - 1
