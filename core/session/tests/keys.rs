//! Keys of issuers that come late: what waits for them, how long, and that nothing is refused for a cold cache.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use common::{Net, group_config, pair_config};
use slim_auth::{Identity, IdentityError, JwtRules, JwtSigner, KeyFetchFailure, KeySet, Verifier};
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_proto::limits::{UNVERIFIED_MAX, UNVERIFIED_WAIT_MAX};
use slim_proto::{Message, MessageKind};
use slim_session::{Command, Event, Request, SessionId};

/// Two issuers of tokens, for the applications of two houses.
const ONE: &str = "https://one.example";
const TWO: &str = "https://two.example";

#[test]
fn an_invitation_waits_for_the_issuers_keys_and_needs_no_repetition() {
    for mls in [true, false] {
        let mut net = Net::new();
        net.add_identity("alice", "alice", identity("alice", ONE), knowing(&[ONE]));
        net.add_identity("bob", "bob", identity("bob", ONE), knowing(&[]));
        let ticket = open(&mut net, "alice", "bob", mls);
        assert_eq!(requests(&mut net, "bob"), [keys_of(ONE)]);
        assert_eq!(net.result("alice", ticket), None);
        assert_eq!(refusals(&net, "bob"), []);

        // The keys come at once: no time passes, nobody repeats anything.
        net.use_verifier("bob", &knowing(&[ONE]));
        assert!(matches!(net.result("alice", ticket), Some(Ok(_))));
        assert_eq!(net.app("bob").endpoint.counters().identity_refused, 0);
        assert_eq!(
            net.app("bob").endpoint.timer_count(None),
            0,
            "no deadline is left behind"
        );
    }
}

#[test]
fn what_waits_in_vain_is_refused_for_the_reason_it_had_all_the_time() {
    let mut net = Net::new();
    net.add_identity("alice", "alice", identity("alice", ONE), knowing(&[ONE]));
    net.add_identity("bob", "bob", identity("bob", ONE), knowing(&[]));
    open(&mut net, "alice", "bob", true);
    net.advance(UNVERIFIED_WAIT_MAX - Duration::from_millis(1));
    assert_eq!(refusals(&net, "bob"), []);
    let failure = KeyFetchFailure::TimedOut;
    net.use_verifier("bob", &knowing(&[]).without_keys(ONE, failure.clone()).unwrap());
    // A failed fetch is no verdict: the next one may succeed in time.
    assert_eq!(refusals(&net, "bob"), []);
    net.advance(Duration::from_millis(2));
    let expected = IdentityError::IssuerUnavailable {
        issuer: ONE.into(),
        failure,
    };
    assert_eq!(refusals(&net, "bob"), [expected]);
}

#[test]
fn both_sides_of_an_invitation_may_have_to_wait() {
    let mut net = Net::new();
    net.add_identity("alice", "alice", identity("alice", ONE), knowing(&[ONE]));
    net.add_identity("bob", "bob", identity("bob", TWO), knowing(&[TWO]));
    let session = net.open("alice", group_config(true));
    let invite = Command::Invite {
        session,
        name: net.name("bob").without_id(),
    };
    let ticket = net.command("alice", invite).unwrap();
    assert_eq!(requests(&mut net, "bob"), [keys_of(ONE)]);
    net.use_verifier("bob", &knowing(&[ONE, TWO]));
    assert_eq!(requests(&mut net, "alice"), [keys_of(TWO)]);
    net.use_verifier("alice", &knowing(&[ONE, TWO]));
    assert!(matches!(net.result("alice", ticket), Some(Ok(_))));
    net.assert_agreement(session, &["alice", "bob"]);
}

#[test]
fn a_welcome_into_a_group_with_members_of_an_unknown_issuer_waits() {
    let mut net = two_houses();
    let session = net.group("alice", true, &["bob"]);
    net.add_identity("carol", "carol", identity("carol", ONE), knowing(&[ONE]));
    let invite = Command::Invite {
        session,
        name: net.name("carol").without_id(),
    };
    let ticket = net.command("alice", invite).unwrap();
    // Bob is in the tree that the welcome brings; carol has not heard of his issuer.
    assert_eq!(requests(&mut net, "carol"), [keys_of(TWO)]);
    assert_eq!(net.result("alice", ticket), None);
    net.use_verifier("carol", &knowing(&[ONE, TWO]));
    assert!(matches!(net.result("alice", ticket), Some(Ok(_))));
    net.assert_agreement(session, &["alice", "bob", "carol"]);
}

#[test]
fn a_commit_that_adds_somebody_of_an_unknown_issuer_waits_and_so_do_those_behind_it() {
    let mut net = Net::new();
    net.add_identity("alice", "alice", identity("alice", ONE), knowing(&[ONE, TWO]));
    net.add_identity("bob", "bob", identity("bob", ONE), knowing(&[ONE]));
    net.add_identity("carol", "carol", identity("carol", TWO), knowing(&[ONE, TWO]));
    net.add_identity("dave", "dave", identity("dave", ONE), knowing(&[ONE, TWO]));
    let session = net.group("alice", true, &["bob"]);
    let invite = |net: &mut Net, name: &str| {
        let name = net.name(name).without_id();
        net.command("alice", Command::Invite { session, name }).unwrap()
    };
    let carol = invite(&mut net, "carol");
    let dave = invite(&mut net, "dave");
    assert_eq!(requests(&mut net, "bob"), [keys_of(TWO)]);
    let rejoins = net.app("bob").endpoint.counters().rejoins;
    net.use_verifier("bob", &knowing(&[ONE, TWO]));
    for ticket in [carol, dave] {
        assert!(net.completed("alice", ticket).is_ok());
    }
    net.assert_agreement(session, &["alice", "bob", "carol", "dave"]);
    assert_eq!(net.app("bob").endpoint.counters().rejoins, rejoins);
    net.publish("carol", session, "hello").unwrap();
    assert_eq!(net.texts("bob", session), ["hello"]);
}

#[test]
fn a_rotated_key_is_asked_for_and_a_forged_one_is_refused_in_the_end() {
    let mut net = Net::new();
    // Bob knows another key under the issuer's name; the token names none.
    let outdated = knowing(&[]).with_keys(ONE, key_set(TWO)).unwrap();
    net.add_identity("alice", "alice", identity("alice", ONE), knowing(&[ONE, TWO]));
    net.add_identity("bob", "bob", identity("bob", TWO), outdated);
    open(&mut net, "alice", "bob", false);
    assert_eq!(requests(&mut net, "bob"), [keys_of(ONE)]);
    // Time goes by without other keys.
    net.advance(UNVERIFIED_WAIT_MAX);
    assert_eq!(refusals(&net, "bob")[0], IdentityError::AlgorithmNotAllowed);
    assert!(net.app("bob").endpoint.counters().identity_refused > 0);

    let ticket = open(&mut net, "alice", "bob", false);
    assert_eq!(net.result("alice", ticket), None);
    net.use_verifier("bob", &knowing(&[ONE, TWO]));
    assert!(matches!(net.result("alice", ticket), Some(Ok(_))));
}

#[test]
fn an_application_that_cannot_show_its_own_token_yet_joins_later() {
    let mut net = two_houses();
    net.add_identity("carol", "carol", identity("carol", TWO), knowing(&[ONE]));
    let ticket = open(&mut net, "alice", "carol", true);
    assert_eq!(requests(&mut net, "carol"), [keys_of(TWO)]);
    net.use_verifier("carol", &knowing(&[ONE, TWO]));
    assert!(matches!(net.result("alice", ticket), Some(Ok(_))));
}

#[test]
fn what_waits_is_bounded_and_the_oldest_gives_way() {
    let mut net = Net::new();
    net.add_identity("alice", "alice", identity("alice", ONE), knowing(&[ONE]));
    net.add_identity("bob", "bob", identity("bob", ONE), knowing(&[]));
    open(&mut net, "alice", "bob", true);
    let (_, request) = net
        .trace
        .iter()
        .find(|(_, message)| message.kind == MessageKind::DiscoveryRequest)
        .cloned()
        .unwrap();
    for number in 0..UNVERIFIED_MAX + 100 {
        let message = Message {
            message_id: u32::try_from(number).unwrap() + 1,
            ..request.clone()
        };
        net.inject("bob", &message);
    }
    let counters = net.app("bob").endpoint.counters();
    assert_eq!(counters.awaiting_keys_dropped, 101);
    // However often it is asked for, the issuer is one.
    assert_eq!(requests(&mut net, "bob"), [keys_of(ONE)]);
    net.advance(UNVERIFIED_WAIT_MAX * 4);
    assert_eq!(net.app("bob").endpoint.timer_count(None), 0);
}

#[test]
fn sessions_are_told_apart_by_number_while_they_wait() {
    let mut net = two_houses();
    net.add_identity("carol", "carol", identity("carol", ONE), knowing(&[]));
    let first = open(&mut net, "alice", "carol", true);
    let second = open(&mut net, "bob", "carol", true);
    assert_eq!(requests(&mut net, "carol"), [keys_of(ONE), keys_of(TWO)]);
    net.use_verifier("carol", &knowing(&[ONE]));
    assert!(matches!(net.result("alice", first), Some(Ok(_))));
    assert_eq!(net.result("bob", second), None);
    net.use_verifier("carol", &knowing(&[ONE, TWO]));
    assert!(matches!(net.result("bob", second), Some(Ok(_))));
    let sessions: Vec<SessionId> = net.app("carol").endpoint.session_ids();
    assert_eq!(sessions.len(), 2);
}

fn two_houses() -> Net {
    let mut net = Net::new();
    for (name, issuer) in [("alice", ONE), ("bob", TWO)] {
        net.add_identity(name, name, identity(name, issuer), knowing(&[ONE, TWO]));
    }
    net
}

fn open(net: &mut Net, by: &str, peer: &str, mls: bool) -> slim_session::Ticket {
    let config = pair_config(peer, mls);
    net.command(by, Command::Open { config, id: None }).unwrap()
}

fn requests(net: &mut Net, app: &str) -> Vec<Request> {
    let endpoint = &mut net.apps.get_mut(app).unwrap().endpoint;
    std::iter::from_fn(|| endpoint.poll_request()).collect()
}

fn keys_of(issuer: &str) -> Request {
    Request::Keys {
        issuer: issuer.into(),
    }
}

fn refusals(net: &Net, app: &str) -> Vec<IdentityError> {
    let events = net.app(app).events.iter();
    let refusals = events.filter_map(|event| match event {
        Event::IdentityRefused {
            error: slim_auth::AuthenticationError::Identity(error),
            ..
        } => Some(error.clone()),
        _ => None,
    });
    refusals.collect()
}

/// A verifier that trusts both issuers and has the keys of these.
fn knowing(issuers: &[&str]) -> Verifier {
    let rules = JwtRules {
        issuers: vec![ONE.to_owned(), TWO.to_owned()],
        ..JwtRules::default()
    };
    let empty = Verifier::jwt_autoresolve(rules).unwrap();
    issuers.iter().fold(empty, |verifier, issuer| {
        verifier.with_keys(issuer, key_set(issuer)).unwrap()
    })
}

fn key_set(issuer: &str) -> KeySet {
    let (algorithm, public) = match issuer {
        ONE => (
            Algorithm::Es256,
            include_str!("../../auth/tests/vectors/p256.public.pem"),
        ),
        _ => (
            Algorithm::EdDsa,
            include_str!("../../auth/tests/vectors/ed25519.public.pem"),
        ),
    };
    KeySet::from_pem(algorithm, public).unwrap()
}

fn identity(name: &str, issuer: &str) -> Identity {
    let (algorithm, private) = match issuer {
        ONE => (
            Algorithm::Es256,
            include_str!("../../auth/tests/vectors/p256.pem"),
        ),
        _ => (
            Algorithm::EdDsa,
            include_str!("../../auth/tests/vectors/ed25519.pem"),
        ),
    };
    Identity::jwt(JwtSigner {
        key: TokenSigningKey::from_text(algorithm, private).unwrap(),
        key_id: None,
        issuer: Some(issuer.to_owned()),
        audiences: Vec::new(),
        subject: format!("spiffe://example/{name}"),
        custom_claims: String::new(),
        lifetime: Duration::from_secs(3600),
    })
    .unwrap()
}
