//! Groups of members with JWT identities, each with a signing key of its own (lessons row 15: test the production
//! identities in a group), and the rotation of these keys.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Member, add, assert_agreement, assert_conversation, at, form, refused};
use slim_auth::{Identity, IdentityError, JwtRules, JwtSigner, KeySet, Verifier};
use slim_crypto::Rng;
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_mls::{CredentialError, MlsError, key_package_subject};

const ISSUER: &str = "https://issuer.example";

/// A member before it has a verifier: its identity, and its key as the issuer publishes it.
struct Candidate {
    identity: Identity,
    jwk: String,
}

impl Candidate {
    fn new(subject: &str) -> Self {
        let key = TokenSigningKey::generate(Algorithm::Es256).unwrap();
        let public = key.verification_key();
        let (x, y) = public.public_bytes().unwrap()[1..].split_at(32);
        let jwk = format!(
            r#"{{"kty":"EC","crv":"P-256","alg":"ES256","x":"{}","y":"{}"}}"#,
            URL_SAFE_NO_PAD.encode(x),
            URL_SAFE_NO_PAD.encode(y)
        );
        let identity = Identity::jwt(JwtSigner {
            key,
            key_id: None,
            issuer: Some(ISSUER.to_owned()),
            audiences: vec!["slim".to_owned()],
            subject: subject.to_owned(),
            custom_claims: String::new(),
            lifetime: Duration::from_secs(3600),
        });
        Self {
            identity: identity.unwrap(),
            jwk,
        }
    }

    fn member(self, verifier: &Verifier, seconds: u64) -> Member {
        let seed = slim_crypto::hmac_sha256(b"seed", self.identity.subject().as_bytes());
        Member::with_identity(self.identity, verifier, Rng::from_seed(seed), seconds)
    }
}

/// A verifier that has fetched the keys of these.
fn verifier(candidates: &[&Candidate]) -> Verifier {
    let keys: Vec<&str> = candidates.iter().map(|candidate| &*candidate.jwk).collect();
    let keys = KeySet::from_published_jwks(&format!(r#"{{"keys":[{}]}}"#, keys.join(","))).unwrap();
    let rules = JwtRules {
        issuers: vec![ISSUER.to_owned()],
        audiences: vec!["slim".to_owned()],
        require_issuer: true,
        ..JwtRules::default()
    };
    Verifier::jwt_autoresolve(rules)
        .unwrap()
        .with_keys(ISSUER, keys)
        .unwrap()
}

fn candidates<const N: usize>(subjects: [&str; N]) -> [Candidate; N] {
    subjects.map(Candidate::new)
}

#[test]
fn a_group_of_five_signers_forms_talks_shrinks_and_refreshes() {
    let group = candidates(["a", "b", "c", "d", "e"]);
    let verifier = verifier(&group.each_ref());
    let mut members: Vec<Member> = group.map(|candidate| candidate.member(&verifier, 0)).into();
    form(&mut members, 0);
    assert_agreement(&mut members);
    assert_conversation(&mut members);
    assert_eq!(members[4].group().members(), ["a", "b", "c", "d", "e"]);

    let commit = members[0].group().remove(at(10), "c").unwrap();
    for member in &mut members[1..] {
        member.group().apply(at(10), &commit.commit).unwrap();
    }
    members.remove(2);
    let token = members[0].token(3000);
    let commit = members[0].group().refresh(at(3000), token).unwrap();
    for member in &mut members[1..] {
        member.group().apply(at(3000), &commit.commit).unwrap();
    }
    assert_eq!(members[0].group().own_credential_issued_at(), at(3000).unix);
    assert_agreement(&mut members);
    assert_conversation(&mut members);
    // An hour and the minute of leeway later, only the moderator's token is fresh.
    assert!(members[1].group().expired_members(at(3660).unix).is_empty());
    assert_eq!(members[1].group().expired_members(at(3661).unix), ["b", "d", "e"]);
}

#[test]
fn a_key_package_tells_the_subject_of_its_token() {
    let [alice] = candidates(["org/ns/alice"]);
    let verifier = verifier(&[&alice]);
    let mut alice = alice.member(&verifier, 0);
    let key_package = alice.key_package(0);
    assert_eq!(key_package_subject(&key_package).unwrap(), "org/ns/alice");
}

#[test]
fn strangers_and_expired_tokens_are_kept_out() {
    let [alice, bob, stranger] = candidates(["alice", "bob", "stranger"]);
    let known = verifier(&[&alice, &bob]);
    let everybody = verifier(&[&alice, &bob, &stranger]);
    let mut alice = alice.member(&known, 0);
    let (mut bob, mut stranger) = (bob.member(&known, 0), stranger.member(&everybody, 0));
    alice.create(0);

    let package = stranger.key_package(0);
    let error = refused(alice.group(), |group| group.add(at(0), &package));
    assert!(matches!(
        error,
        MlsError::Credential(CredentialError::OtherKeys {
            error: IdentityError::WrongSignature,
            ..
        })
    ));
    let package = bob.key_package(0);
    let error = refused(alice.group(), |group| group.add(at(3661), &package));
    assert!(matches!(
        error,
        MlsError::Credential(CredentialError::Identity(IdentityError::Expired { .. }))
    ));
    assert!(alice.group().add(at(3660), &package).is_ok());
}

#[test]
fn a_group_outlives_the_rotation_of_all_keys() {
    let [alice, bob, carol] = candidates(["alice", "bob", "carol"]);
    let old = verifier(&[&alice, &bob]);
    let overlap = verifier(&[&alice, &bob, &carol]);
    let new = verifier(&[&carol]);
    let mut members = vec![
        alice.member(&old, 0),
        bob.member(&old, 0),
        carol.member(&overlap, 0),
    ];
    members[0].create(0);
    add(&mut members, 1, 0);

    // Carol's key is fetched by nobody yet.
    let package = members[2].key_package(1);
    refused(members[0].group(), |group| group.add(at(1), &package));
    members[0].group().use_verifier(&overlap);
    let commit = members[0].group().add(at(2), &package).unwrap();
    refused(members[1].group(), |group| group.apply(at(2), &commit.commit));
    members[1].group().use_verifier(&overlap);
    members[1].group().apply(at(2), &commit.commit).unwrap();
    let welcome = commit.welcome.unwrap();
    members[2].join(2, &welcome);
    assert_agreement(&mut members);

    // The old keys are gone, the members are not: their tokens were judged while the keys were good.
    for member in &mut members {
        member.group().use_verifier(&new);
    }
    assert_conversation(&mut members);
    let commit = members[0].group().remove(at(3), "carol").unwrap();
    members[1].group().apply(at(3), &commit.commit).unwrap();
    members.truncate(2);
    assert_agreement(&mut members);
    assert_conversation(&mut members);
}

#[test]
fn keys_that_are_not_fetched_yet_have_an_error_of_their_own() {
    let [alice, bob] = candidates(["alice", "bob"]);
    let known = verifier(&[&alice, &bob]);
    let mut alice = alice.member(&known, 0);
    let mut bob = bob.member(&known, 0);
    alice.create(0);
    let rules = JwtRules {
        issuers: vec![ISSUER.to_owned()],
        audiences: vec!["slim".to_owned()],
        ..JwtRules::default()
    };
    let package = bob.key_package(0);
    alice
        .group()
        .use_verifier(&Verifier::jwt_autoresolve(rules.clone()).unwrap());
    let error = refused(alice.group(), |group| group.add(at(0), &package));
    assert!(matches!(
        error,
        MlsError::Credential(CredentialError::Identity(IdentityError::KeysUnavailable { issuer })) if &*issuer == ISSUER
    ));
    // The client judges welcomes; it learns the keys apart from the groups.
    alice.group().use_verifier(&known);
    let welcome = alice.group().add(at(0), &package).unwrap().welcome.unwrap();
    bob.client
        .use_verifier(&Verifier::jwt_autoresolve(rules).unwrap());
    assert!(matches!(
        bob.client.join(at(0), &welcome),
        Err(MlsError::Credential(CredentialError::Identity(
            IdentityError::KeysUnavailable { .. }
        )))
    ));
    bob.client.use_verifier(&known);
    assert!(bob.client.join(at(0), &welcome).is_ok());
}
