//! Every way in which a token proves nothing: the side that refuses knows its class, the other one sees a time-out that
//! names the likely causes, nothing is half joined, and the group that was there goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "../../node/tests/common/mod.rs"]
mod raw;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{group, message, name, within};
use raw::RawPeer;
use serde_json::{Value, json};
use slim::identity::{
    Algorithm, AuthenticationError, Identity, IdentityError, JwtRules, JwtSigner, KeySet, SignatureFailure,
    SigningKey, TokenSigningKey, Verifier,
};
use slim::{
    App, ClientConfig, Direction, Error, InviteStep, OperationError, PublishOptions, Reliability,
    ServerConfig, Service, Session, SessionConfig,
};
use slim_auth::sign_message;
use slim_proto::{Command, Content, Frame, Message};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "group";
const STRANGER: &str = "org/ns/stranger";

/// A member's key for tokens, known to the others by the member's name.
struct Key {
    name: &'static str,
    key: TokenSigningKey,
}

/// Everybody's keys, and a group of two that must not notice anything.
struct Group {
    address: std::net::SocketAddr,
    keys: KeySet,
    stranger: Key,
    unknown: Key,
    bobs: Identity,
    alice: App,
    bob: App,
    ours: Session,
    theirs: Session,
    _services: [Service; 3],
}

type IsExpected = fn(&AuthenticationError) -> bool;

/// What is wrong, the token that says so, and its class.
type Case = (&'static str, fn(&Group, &SigningKey) -> String, IsExpected);

const CASES: [Case; 8] = [
    (
        "expired",
        |group, key| {
            group.token(
                &group.stranger,
                key,
                &json!({"iat": now() - 7200, "exp": now() - 3600}),
            )
        },
        |error| is(error, |error| matches!(error, IdentityError::Expired { .. })),
    ),
    (
        "not yet valid",
        |group, key| group.token(&group.stranger, key, &json!({"nbf": now() + 3600})),
        |error| is(error, |error| matches!(error, IdentityError::NotYetValid { .. })),
    ),
    (
        "wrong audience",
        |group, key| group.token(&group.stranger, key, &json!({"aud": ["another group"]})),
        |error| is(error, |error| matches!(error, IdentityError::WrongAudience)),
    ),
    (
        "wrong issuer",
        |group, key| group.token(&group.stranger, key, &json!({"iss": "https://evil.example"})),
        |error| is(error, |error| matches!(error, IdentityError::WrongIssuer)),
    ),
    (
        "alg none",
        |group, key| {
            let unsigned = encode(
                &json!({"alg": "none", "kid": STRANGER}),
                &group.claims(key, &json!({})),
            );
            format!("{unsigned}.")
        },
        |error| is(error, |error| matches!(error, IdentityError::AlgorithmNotAllowed)),
    ),
    (
        "HS256 signed with a public key",
        |group, key| {
            let secret = STANDARD.encode(group.stranger.key.verification_key().public_bytes().unwrap());
            let forged = Key {
                name: STRANGER,
                key: TokenSigningKey::from_text(Algorithm::Hs256, &secret).unwrap(),
            };
            group.token(&forged, key, &json!({}))
        },
        |error| is(error, |error| matches!(error, IdentityError::AlgorithmNotAllowed)),
    ),
    (
        "unknown kid",
        |group, key| group.token(&group.unknown, key, &json!({})),
        |error| {
            is(error, |error| {
                matches!(error, IdentityError::NoMatchingKey { .. })
            })
        },
    ),
    (
        "signed by nobody who is known",
        |group, key| {
            let forged = Key {
                name: STRANGER,
                key: TokenSigningKey::generate(Algorithm::Es256).unwrap(),
            };
            group.token(&forged, key, &json!({}))
        },
        |error| is(error, |error| matches!(error, IdentityError::WrongSignature)),
    ),
];

#[tokio::test]
async fn s_64_s_74_an_invitee_with_a_wrong_token_is_refused_by_its_class_and_the_group_goes_on() {
    let group = Group::start().await;
    for (case, forge, is_expected) in CASES {
        let (_service, stranger) = group.stranger(forge).await;
        let before = group.alice.identity_refusals().len();
        let error = within(group.ours.invite(name(STRANGER))).await.unwrap_err();
        let (step, text) = invite_failure(case, &error);
        assert_eq!(step, InviteStep::Discovery, "{case}");
        assert!(text.contains("holds other credentials"), "{case}: {text}");
        is_refused(case, &group.alice, before, &stranger, is_expected);
        assert!(stranger.sessions().is_empty(), "{case}");
        within(stranger.close()).await.unwrap();
        group.goes_on(case).await;
    }
}

#[tokio::test]
async fn s_64_s_74_an_inviter_with_a_wrong_token_is_refused_by_its_class_and_sees_the_likely_causes() {
    let group = Group::start().await;
    for (case, forge, is_expected) in CASES {
        let (_service, stranger) = group.stranger(forge).await;
        // Its own software makes no encrypted group with such a token.
        let trap = SessionConfig {
            mls: false,
            ..impatient("org/ns/trap")
        };
        let session = within(stranger.open(trap)).await.unwrap();
        let before = group.bob.identity_refusals().len();
        let error = within(session.invite(group.bob.name().without_id()))
            .await
            .unwrap_err();
        let (_, text) = invite_failure(case, &error);
        assert!(
            text.contains("holds other credentials and refuses in silence"),
            "{case}: {text}"
        );
        is_refused(case, &group.bob, before, &stranger, is_expected);
        assert_eq!(group.bob.sessions().len(), 1, "{case}");
        within(stranger.close()).await.unwrap();
        group.goes_on(case).await;
    }
}

#[tokio::test]
async fn s_64_s_74_a_thief_with_another_members_token_is_refused() {
    let group = Group::start().await;
    // With our software nobody comes so far.
    let token = group.bobs.token(slim_proto::UnixTime(now()), &mut rng());
    let own_key = SigningKey::generate_p256();
    let error = Identity::static_jwt(&token, Some(own_key)).unwrap_err();
    assert_eq!(error, IdentityError::OtherPrivateKey);

    // With other software the message is signed by somebody else than the token names.
    let thief = Identity::shared_secret(STRANGER, "of no use here", &mut rng()).unwrap();
    let claimed = name(STRANGER).with_id(group.bobs.name_id());
    let mut peer = RawPeer::connect(group.address, STRANGER).await;
    peer.subscribe(&name(STRANGER)).await;
    peer.subscribe(&claimed).await;
    let ours = group.ours.clone();
    let inviting = tokio::spawn(async move { ours.invite(name(STRANGER)).await });
    let request = loop {
        let request = peer.message().await;
        if request.content == Content::Command(Command::DiscoveryRequest) {
            break request;
        }
    };
    let mut reply = Message::new(
        claimed.clone(),
        request.source.clone(),
        request.session_kind,
        request.session_id,
        request.message_id,
        Command::DiscoveryReply,
    );
    reply.identity = token;
    sign_message(&thief, &mut reply);
    peer.send(Frame::new(reply.encode()).unwrap()).await;
    let error = within(inviting).await.unwrap().unwrap_err();
    invite_failure("thief", &error);
    let refused = group.alice.identity_refusals();
    assert!(
        refused.iter().any(|refusal| refusal.peer == claimed
            && refusal.error == AuthenticationError::Signature(SignatureFailure::HeaderInvalid)),
        "{refused:?}"
    );
    group.goes_on("thief").await;
}

fn is(error: &AuthenticationError, expected: fn(&IdentityError) -> bool) -> bool {
    matches!(error, AuthenticationError::Identity(error) if expected(error))
}

/// The side that refuses has one class for what this stranger did since, and no other.
fn is_refused(case: &str, app: &App, before: usize, stranger: &App, is_expected: IsExpected) {
    let refusals = app.identity_refusals();
    let of_stranger: Vec<_> = refusals
        .iter()
        .skip(before)
        .filter(|refusal| refusal.peer == stranger.name())
        .collect();
    assert!(!of_stranger.is_empty(), "{case}: {refusals:?}");
    for refusal in of_stranger {
        assert!(is_expected(&refusal.error), "{case}: {refusal:?}");
    }
}

fn invite_failure(case: &str, error: &Error) -> (InviteStep, String) {
    let Error::Operation(OperationError::InviteFailed { step, .. }) = error else {
        panic!("{case}: {error:?}")
    };
    (*step, error.to_string())
}

impl Group {
    async fn start() -> Self {
        let [alices, bobs, stranger, unknown] = ["org/ns/alice", "org/ns/bob", STRANGER, "org/ns/nobody"]
            .map(|name| Key {
                name,
                key: TokenSigningKey::generate(Algorithm::Es256).unwrap(),
            });
        let known: Vec<Value> = [&alices, &bobs, &stranger].map(Key::jwk).into();
        let keys = KeySet::from_jwks(&json!({ "keys": known }).to_string(), None).unwrap();
        let node = Service::new().unwrap();
        // The thief has no keys for a link that proves where frames come from.
        let mut config = ServerConfig::insecure("127.0.0.1:0".parse().unwrap());
        config.require_header_mac = false;
        let endpoint = within(node.run_server(config)).await.unwrap();
        let address = endpoint.socket_address().unwrap();
        let bobs = bobs.identity();
        let (alice_service, alice) = connected(address, "org/ns/alice", alices.identity(), &keys).await;
        let (bob_service, bob) = connected(address, "org/ns/bob", bobs.clone(), &keys).await;
        let ours = within(alice.open(impatient("org/ns/channel"))).await.unwrap();
        within(ours.invite(bob.name().without_id())).await.unwrap();
        let theirs = within(bob.accept()).await.unwrap();
        Self {
            address,
            keys,
            stranger,
            unknown,
            bobs,
            alice,
            bob,
            ours,
            theirs,
            _services: [node, alice_service, bob_service],
        }
    }

    /// An application whose every token is this one.
    async fn stranger(&self, forge: fn(&Self, &SigningKey) -> String) -> (Service, App) {
        let key = SigningKey::generate_p256();
        let identity = Identity::static_jwt(&forge(self, &key), Some(key)).unwrap();
        connected(self.address, STRANGER, identity, &self.keys).await
    }

    /// A token of the stranger for this message key, with some claims changed.
    fn token(&self, signer: &Key, key: &SigningKey, changed: &Value) -> String {
        let header = json!({"alg": signer.key.algorithm().name(), "kid": signer.name});
        let signed = encode(&header, &self.claims(key, changed));
        format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(signer.key.sign(signed.as_bytes()))
        )
    }

    fn claims(&self, key: &SigningKey, changed: &Value) -> Value {
        let mut claims = json!({
            "iss": ISSUER, "aud": [AUDIENCE], "sub": self.stranger.name,
            "iat": now(), "nbf": now() - 7200, "exp": now() + 3600,
            "pubkey": STANDARD.encode(key.public_key()),
        });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    /// A message each way, and nobody else is there.
    async fn goes_on(&self, case: &str) {
        for (from, to) in [(&self.ours, &self.theirs), (&self.theirs, &self.ours)] {
            within(from.publish(case.to_owned().into(), PublishOptions::default()))
                .await
                .unwrap();
            assert_eq!(message(to).await.payload, case, "{case}");
        }
        let snapshot = within(self.ours.snapshot()).await.unwrap();
        assert_eq!(snapshot.members.len(), 2, "{case}: {snapshot:?}");
    }
}

impl Key {
    fn identity(self) -> Identity {
        let signer = JwtSigner {
            key: self.key,
            key_id: None,
            issuer: Some(ISSUER.to_owned()),
            audiences: vec![AUDIENCE.to_owned()],
            subject: self.name.to_owned(),
            custom_claims: String::new(),
            lifetime: Duration::from_secs(3600),
        };
        Identity::jwt(signer).unwrap()
    }

    fn jwk(&self) -> Value {
        let public = self.key.verification_key();
        let point = public.public_bytes().unwrap();
        let half = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.name,
            "x": half(&point[1..33]), "y": half(&point[33..]),
        })
    }
}

async fn connected(
    address: std::net::SocketAddr,
    text: &str,
    identity: Identity,
    keys: &KeySet,
) -> (Service, App) {
    let rules = JwtRules {
        issuers: vec![ISSUER.to_owned()],
        audiences: vec![AUDIENCE.to_owned()],
        ..JwtRules::default()
    };
    let service = Service::new().unwrap();
    let verifier = Verifier::jwt(keys.clone(), rules);
    let app = within(service.create_app(name(text), identity, verifier, Direction::Bidirectional))
        .await
        .unwrap();
    within(service.connect(ClientConfig::insecure(address.into())))
        .await
        .unwrap();
    (service, app)
}

/// A group that gives up on silent invitees soon.
fn impatient(channel: &str) -> SessionConfig {
    SessionConfig {
        destination: name(channel),
        reliability: Some(Reliability {
            interval: Duration::from_millis(150),
            max_retries: 1,
        }),
        ..group()
    }
}

fn encode(header: &Value, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn rng() -> slim::Rng {
    slim::Rng::from_seed(slim::os_seed())
}
