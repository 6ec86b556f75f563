//! Members with virtual time, for dialogues between MLS groups.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    unreachable_pub,
    reason = "each test file uses its part, and stops at the first surprise"
)]

use std::time::Duration;

use bytes::Bytes;
use slim_auth::{Identity, Verifier};
use slim_crypto::Rng;
use slim_mls::{Group, MlsClient, MlsError, OpenError, Opened};
use slim_proto::{Instant, Now, UnixTime};

pub const SECRET: &str = "secret-0123456789-0123456789-abcdef";

/// Some time in 2026; the clocks of a dialogue start here.
pub const START: u64 = 1_795_356_032;

/// Virtual time, in seconds since the dialogue began.
pub fn at(seconds: u64) -> Now {
    Now {
        mono: Instant::from_start(Duration::from_secs(seconds)),
        unix: UnixTime(START + seconds),
    }
}

/// An application in one session.
pub struct Member {
    pub identity: Identity,
    pub client: MlsClient,
    pub rng: Rng,
    group: Option<Group>,
}

impl Member {
    pub fn new(base: &str, seconds: u64) -> Self {
        Self::with_secret(base, SECRET, seconds)
    }

    pub fn with_secret(base: &str, secret: &str, seconds: u64) -> Self {
        let seed = slim_crypto::hmac_sha256(b"seed", base.as_bytes());
        let mut rng = Rng::from_seed(seed);
        let identity = Identity::shared_secret(base, secret, &mut rng).unwrap();
        let verifier = identity.verifier();
        Self::with_identity(identity, &verifier, rng, seconds)
    }

    pub fn with_identity(identity: Identity, verifier: &Verifier, mut rng: Rng, seconds: u64) -> Self {
        let token = identity.token(at(seconds).unix, &mut rng);
        let client = MlsClient::new(&identity, verifier, token, at(seconds)).unwrap();
        Self {
            identity,
            client,
            rng,
            group: None,
        }
    }

    pub fn subject(&self) -> &str {
        self.identity.subject()
    }

    pub fn token(&mut self, seconds: u64) -> String {
        self.identity.token(at(seconds).unix, &mut self.rng)
    }

    pub fn key_package(&mut self, seconds: u64) -> Bytes {
        let token = self.token(seconds);
        self.client.key_package(at(seconds), token).unwrap()
    }

    pub fn create(&mut self, seconds: u64) {
        self.group = Some(self.client.create_group(at(seconds)).unwrap());
    }

    pub fn join(&mut self, seconds: u64, welcome: &[u8]) {
        self.group = Some(self.client.join(at(seconds), welcome).unwrap());
    }

    pub fn group(&mut self) -> &mut Group {
        self.group.as_mut().unwrap()
    }

    pub fn take_group(&mut self) -> Group {
        self.group.take().unwrap()
    }

    pub fn seal(&mut self, text: &str) -> Bytes {
        self.group().seal(text.as_bytes(), b"aad".to_vec()).unwrap()
    }

    pub fn open(&mut self, ciphertext: &[u8]) -> Result<Opened, OpenError> {
        self.group().open(ciphertext)
    }

    /// Opens a message and gives its text and sender.
    pub fn read(&mut self, ciphertext: &[u8]) -> (String, String) {
        let opened = self.open(ciphertext).unwrap();
        (
            String::from_utf8(opened.plaintext.to_vec()).unwrap(),
            opened.sender,
        )
    }

    pub fn authenticator(&mut self) -> Vec<u8> {
        self.group().epoch_authenticator()
    }
}

/// Creates a group: the first member is the moderator and adds the others one after the other.
pub fn form(members: &mut [Member], seconds: u64) {
    members[0].create(seconds);
    for joiner in 1..members.len() {
        add(members, joiner, seconds);
    }
}

/// The first member adds one; all before it apply the commit.
pub fn add(members: &mut [Member], joiner: usize, seconds: u64) {
    let key_package = members[joiner].key_package(seconds);
    let commit = members[0].group().add(at(seconds), &key_package).unwrap();
    for member in &mut members[1..joiner] {
        member.group().apply(at(seconds), &commit.commit).unwrap();
    }
    members[joiner].join(seconds, &commit.welcome.unwrap());
}

/// Panics unless all members are in the same epoch with the same roster and authenticator.
pub fn assert_agreement(members: &mut [Member]) {
    let (first, others) = members.split_first_mut().unwrap();
    for other in others {
        assert_eq!(other.group().epoch(), first.group().epoch());
        assert_eq!(other.group().members(), first.group().members());
        assert_eq!(other.authenticator(), first.authenticator());
    }
}

/// Every member's message reaches every other member.
pub fn assert_conversation(members: &mut [Member]) {
    for sender in 0..members.len() {
        let ciphertext = members[sender].seal("hello");
        let subject = members[sender].subject().to_owned();
        for (index, receiver) in members.iter_mut().enumerate() {
            if index != sender {
                assert_eq!(receiver.read(&ciphertext), ("hello".to_owned(), subject.clone()));
            }
        }
    }
}

/// The error of an operation that must fail and change nothing.
pub fn refused<T: std::fmt::Debug>(
    group: &mut Group,
    operation: impl FnOnce(&mut Group) -> Result<T, MlsError>,
) -> MlsError {
    let before = (group.epoch(), group.members(), group.epoch_authenticator());
    let error = operation(group).unwrap_err();
    let after = (group.epoch(), group.members(), group.epoch_authenticator());
    assert_eq!(before, after, "a refused operation changed the group");
    error
}
