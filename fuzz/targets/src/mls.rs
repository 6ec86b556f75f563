//! MLS messages from the network: what is not exactly what a member made is refused, and changes nothing.

use std::cell::RefCell;

use bytes::Bytes;
use slim_mls::{key_package_subject, key_package_token};

use crate::members::{Member, at};
use crate::script::{Script, edited};

/// Genuine messages, and those who get them.
struct Stage {
    alice: Member,
    bob: Member,
    carol: Member,
    /// Carol's, not used.
    key_package: Bytes,
    /// For Carol; the group of Alice alone would have to make it, so it is of another group.
    welcome: Bytes,
    /// Alice's next, that Bob has not seen.
    commit: Bytes,
    /// Of Alice to Bob, in the epoch before the commit.
    sealed: Bytes,
}

thread_local! {
    /// A stage is used again as long as nothing on it has changed: making one takes milliseconds.
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// Bytes as they come, or genuine ones changed, to every door that they can knock at.
pub fn mls(data: &[u8]) {
    let mut script = Script::new(data);
    let step = script.byte();
    let mut stage = STAGE.take().unwrap_or_else(Stage::new);
    let genuine = match step % 4 {
        0 => stage.key_package.clone(),
        1 => stage.welcome.clone(),
        2 => stage.commit.clone(),
        _ => stage.sealed.clone(),
    };
    let bytes = if step & 0x10 == 0 {
        edited(&genuine, &mut script)
    } else {
        script.rest().to_vec()
    };
    let is_genuine = [&stage.key_package, &stage.welcome, &stage.commit, &stage.sealed]
        .contains(&&Bytes::from(bytes.clone()));
    if let (Ok(subject), Ok(token)) = (key_package_subject(&bytes), key_package_token(&bytes)) {
        let claimed = slim_auth::claimed_subject(&token);
        assert_eq!(claimed.as_deref(), Some(subject.as_str()));
    }
    if is_genuine {
        // The genuine ones still work, which uses this stage up.
        stage.play();
        return;
    }
    let before = stage.state();
    let Stage {
        alice, bob, carol, ..
    } = &mut stage;
    assert!(
        alice.group().add(at(0), &bytes).is_err(),
        "a changed key package is taken"
    );
    assert!(
        bob.group().apply(at(0), &bytes).is_err(),
        "a changed commit is applied"
    );
    assert!(bob.group().open(&bytes).is_err(), "a changed message is opened");
    assert!(
        carol.client.join(at(0), &bytes).is_err(),
        "a changed welcome is joined"
    );
    assert_eq!(stage.state(), before, "what was refused has changed something");
    STAGE.replace(Some(stage));
}

impl Stage {
    fn new() -> Self {
        let [mut alice, mut bob, mut carol, mut dave] =
            ["alice", "bob", "carol", "dave"].map(|name| Member::new(&format!("org/ns/{name}"), 0));
        alice.create(0);
        let key_package = bob.key_package(0);
        let added = alice
            .group()
            .add(at(0), &key_package)
            .expect("a genuine key package");
        bob.join(0, &added.welcome.expect("somebody was added"));
        let sealed = alice.seal("hello");
        // The commit is made by a copy of the group's future that Alice herself goes to.
        dave.create(0);
        let for_dave = carol.key_package(0);
        let invited = dave.group().add(at(0), &for_dave).expect("a genuine key package");
        let key_package = carol.key_package(0);
        let token = alice.token(0);
        let commit = alice
            .group()
            .refresh(at(0), token)
            .expect("a genuine token")
            .commit;
        Self {
            key_package,
            welcome: invited.welcome.expect("somebody was added"),
            commit,
            sealed,
            alice,
            bob,
            carol,
        }
    }

    fn state(&mut self) -> [(u64, Vec<String>, Vec<u8>); 2] {
        [&mut self.alice, &mut self.bob].map(|member| {
            let group = member.group();
            (group.epoch(), group.members(), group.epoch_authenticator())
        })
    }

    fn play(mut self) {
        let opened = self.bob.read(&self.sealed);
        assert_eq!(opened, ("hello".to_owned(), self.alice.subject().to_owned()));
        self.bob
            .group()
            .apply(at(0), &self.commit)
            .expect("the genuine commit applies");
        self.carol.join(0, &self.welcome);
        self.alice
            .group()
            .add(at(0), &self.key_package)
            .expect("the genuine key package is taken");
    }
}
