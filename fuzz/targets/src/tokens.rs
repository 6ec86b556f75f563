//! Identity tokens: of shared secrets, JSON Web Tokens, JWT-SVIDs. Nothing but what the issuer made verifies.

use std::sync::LazyLock;
use std::time::Duration;

use slim_auth::{Identity, JwtRules, JwtSigner, KeySet, LinkVerifier, Verifier, claimed_subject, read_svid};
use slim_crypto::Rng;
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_proto::{FullName, NameId, UnixTime};

use crate::script::{Script, edited};

/// The secret of the recordings, whose tokens are among the seeds.
const SECRET: &str = "secret-0123456789-0123456789-abcdef";
const NOW: UnixTime = UnixTime(1_795_356_032);

/// An issuer of each kind with a genuine token.
struct Issuers {
    shared: Verifier,
    shared_token: String,
    signed: Verifier,
    signed_token: String,
    links: LinkVerifier,
}

static ISSUERS: LazyLock<Issuers> = LazyLock::new(|| {
    let mut rng = Rng::from_seed([9; 32]);
    let shared = Identity::shared_secret("org/ns/app", SECRET, &mut rng).expect("a good name and secret");
    let key = TokenSigningKey::generate(Algorithm::Es256).expect("an algorithm with keys");
    let signer = JwtSigner {
        key,
        key_id: Some("key-1".into()),
        issuer: Some("https://issuer.example".into()),
        audiences: vec!["slim".into()],
        subject: "org/ns/app".into(),
        custom_claims: String::new(),
        lifetime: Duration::from_secs(3600),
    };
    let signed = Identity::jwt(signer).expect("a good signer");
    let hs = KeySet::from_pem(Algorithm::Hs256, SECRET).expect("a secret of 35 bytes");
    let rules = JwtRules {
        audiences: vec!["slim".into()],
        ..JwtRules::default()
    };
    Issuers {
        shared_token: shared.token(NOW, &mut rng),
        shared: shared.verifier(),
        signed_token: signed.token(NOW, &mut rng),
        signed: signed.verifier(),
        links: LinkVerifier::fixed(hs, rules),
    }
});

/// A text as it comes, or a genuine token changed.
pub fn tokens(data: &[u8]) {
    let issuers = &*ISSUERS;
    let mut script = Script::new(data);
    let what = script.byte() % 4;
    let genuine = match what {
        0 => &issuers.shared_token,
        1 => &issuers.signed_token,
        _ => "",
    };
    let bytes = if what < 2 {
        edited(genuine.as_bytes(), &mut script)
    } else {
        script.rest().to_vec()
    };
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return;
    };
    for verifier in [&issuers.shared, &issuers.signed] {
        let verified = verifier.verify(text, NOW);
        let always = verifier.verify_at_any_time(text);
        if let Ok(verified) = &verified {
            assert_eq!(
                always.as_ref(),
                Ok(verified),
                "what holds now holds without a clock"
            );
        }
        if let Ok(verified) = always {
            assert_eq!(
                claimed_subject(text).as_deref(),
                Some(verified.subject.as_str()),
                "who is looked up is who is verified"
            );
            assert!(verified.name_id().is_concrete());
            assert!(matches!(verified.public_key.len(), 32 | 33 | 65));
        }
        if what < 2 && text != genuine {
            assert!(verified.is_err(), "a changed token is accepted: {text}");
        }
    }
    // Not for this one: no token here was made with its key.
    let _ = issuers.links.verify(text, NOW);
    if let Ok(svid) = read_svid(text) {
        assert!(svid.id.as_str().starts_with("spiffe://"));
        assert_eq!(svid.id.as_str().parse(), Ok(svid.id.clone()));
    }
    names(text);
}

/// A name that is read is written as it was read, and hashes to what its parts hash to.
fn names(text: &str) {
    let Ok(name) = text.parse::<FullName>() else {
        return;
    };
    assert_eq!(name.to_string().parse().as_ref(), Ok(&name));
    assert_eq!(name.id(), NameId::ANY);
    let [a, b, c] = name.components();
    assert_eq!(FullName::new(a, b, c).as_ref(), Ok(&name));
    let (data, control) = slim_proto::name::channel_names(&name, text);
    assert!(data.same_components(&control) && data.id() != control.id());
}
