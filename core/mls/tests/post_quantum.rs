//! Groups of the post-quantum suite: who has an Ed25519 key is in one, and nobody else is.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use slim_auth::Identity;
use slim_crypto::{Rng, SigningKey};
use slim_mls::{Group, MlsClient, MlsError};
use slim_proto::{Instant, Now, UnixTime};

const NOW: Now = Now {
    mono: Instant::ZERO,
    unix: UnixTime(1_795_356_032),
};

const SECRET: &str = "secret-0123456789-0123456789-abcdef";

struct Member {
    identity: Identity,
    client: MlsClient,
    rng: Rng,
}

impl Member {
    fn new(base: &str, key: SigningKey) -> Self {
        let mut rng = Rng::from_seed([7; 32]);
        let identity = Identity::shared_secret_with_key(base, SECRET, key, &mut rng).unwrap();
        let token = identity.token(NOW.unix, &mut rng);
        let client = MlsClient::new(&identity, &identity.verifier(), token, NOW).unwrap();
        Self {
            identity,
            client,
            rng,
        }
    }

    fn key_package(&mut self) -> Vec<u8> {
        let token = self.identity.token(NOW.unix, &mut self.rng);
        self.client.key_package(NOW, token).unwrap().to_vec()
    }
}

/// The suite of a key package: after version and wire format comes the protocol version, then the suite (RFC 9420
/// §6 and §10).
fn suite_of(key_package: &[u8]) -> u16 {
    u16::from_be_bytes([key_package[6], key_package[7]])
}

fn join(group: &mut Group, member: &mut Member) -> (Group, Vec<u8>) {
    let key_package = member.key_package();
    let commit = group.add(NOW, &key_package).unwrap();
    (
        member.client.join(NOW, &commit.welcome.unwrap()).unwrap(),
        commit.commit.to_vec(),
    )
}

#[test]
fn members_with_ed25519_keys_form_a_group_of_suite_65100_and_read_each_other() {
    let mut alice = Member::new("alice", SigningKey::generate_ed25519());
    let mut bob = Member::new("bob", SigningKey::generate_ed25519());
    let mut carol = Member::new("carol", SigningKey::generate_ed25519());
    assert_eq!(suite_of(&bob.key_package()), 65100);
    let mut group = alice.client.create_group(NOW).unwrap();
    let (mut bobs, _) = join(&mut group, &mut bob);
    let (mut carols, commit) = join(&mut group, &mut carol);
    bobs.apply(NOW, &commit).unwrap();
    let sealed = carols.seal(b"to all", b"header".to_vec()).unwrap();
    for member in [&mut group, &mut bobs] {
        assert_eq!(&member.open(&sealed).unwrap().plaintext[..], b"to all");
    }
    // A removal renews the path: encapsulations to every member that stays.
    let removal = group.remove(NOW, carol.identity.subject()).unwrap();
    bobs.apply(NOW, &removal.commit).unwrap();
    let sealed = bobs.seal(b"without carol", Vec::new()).unwrap();
    assert_eq!(&group.open(&sealed).unwrap().plaintext[..], b"without carol");
    assert!(carols.open(&sealed).is_err());
}

#[test]
fn a_member_of_the_other_suite_is_refused_by_name_of_the_cause() {
    let (classical, post_quantum) = (SigningKey::generate_p256, SigningKey::generate_ed25519);
    for (own, other, suites) in [
        (classical(), post_quantum(), (2, 65100)),
        (post_quantum(), classical(), (65100, 2)),
    ] {
        let mut alice = Member::new("alice", own);
        let mut bob = Member::new("bob", other);
        let mut group = alice.client.create_group(NOW).unwrap();
        let error = group.add(NOW, &bob.key_package()).unwrap_err();
        let MlsError::OtherSuite { expected, got } = error else {
            panic!("{error:?}");
        };
        assert_eq!((expected, got), suites);
        assert!(error.to_string().contains("pqc"), "{error}");
        assert_eq!(group.epoch(), 0);
    }
}
