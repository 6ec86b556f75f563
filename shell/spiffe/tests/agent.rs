//! The client and its sources against an agent that issues, rotates, refuses, dies and comes back.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use slim_auth::{JwtBundles, LinkVerifier, SpiffeId, TrustDomain, Verifier, claims_audience};
use slim_proto::UnixTime;
use slim_spiffe::{BundleSource, SpiffeError, Svid, TokenSource, WorkloadAddress, WorkloadApi, X509Source};
use slim_spiffe_agent::{Agent, Asked, Refusal};
use tokio::sync::watch;
use tokio::time::timeout;

const ALICE: &str = "spiffe://example.org/alice";
const BOB: &str = "spiffe://example.org/bob";
/// What a busy machine may take for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent in a folder of its own.
struct Fixture {
    agent: Agent,
    folder: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        Self::of(name, "example.org", &[ALICE, BOB])
    }

    fn of(name: &str, trust_domain: &str, ids: &[&str]) -> Self {
        // Short: a socket's path has at most 107 bytes.
        let folder = std::env::temp_dir().join(format!("spiffe-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let agent = Agent::start(&folder.join("agent.sock"), trust_domain, ids).unwrap();
        Self { agent, folder }
    }

    fn api(&self) -> WorkloadApi {
        api(self.agent.socket())
    }

    async fn tokens(&self) -> TokenSource {
        TokenSource::start(self.api(), vec!["slim".to_owned()], None)
            .await
            .unwrap()
    }

    async fn bundles(&self, trust_domains: &[&str]) -> Result<BundleSource, SpiffeError> {
        let domains = trust_domains.iter().map(|name| name.parse().unwrap()).collect();
        BundleSource::start(self.api(), domains).await
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn api(socket: &Path) -> WorkloadApi {
    WorkloadApi::new(WorkloadAddress::parse(socket, "socket_path").unwrap())
}

fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

async fn next<T: Clone>(values: &mut watch::Receiver<T>) -> T {
    timeout(PATIENCE, values.changed()).await.unwrap().unwrap();
    values.borrow_and_update().clone()
}

fn accepts(bundles: &JwtBundles, svid: &Svid) -> bool {
    let verifier = LinkVerifier::spiffe(bundles.clone(), vec!["slim".to_owned()]);
    verifier.verify(svid.token(), svid.issued_at).is_ok()
}

#[tokio::test]
async fn the_first_identity_is_taken_unless_another_is_named() {
    let fixture = Fixture::new("first");
    let audiences = ["slim".to_owned(), "other".to_owned()];
    let first = fixture.api().fetch_jwt_svid(&audiences, None).await.unwrap();
    assert_eq!(first.id, id(ALICE));
    assert_eq!(first.expires_at, UnixTime(first.issued_at.0 + 300));
    let named = fixture
        .api()
        .fetch_jwt_svid(&audiences, Some(&id(BOB)))
        .await
        .unwrap();
    assert_eq!(named.id, id(BOB));
    let asked = |id: &str| Asked {
        method: "FetchJWTSVID".to_owned(),
        audiences: audiences.to_vec(),
        id: id.to_owned(),
    };
    assert_eq!(fixture.agent.asked(), [asked(""), asked(BOB)]);
}

#[tokio::test]
async fn a_token_of_the_agent_is_an_identity_that_its_bundles_verify() {
    let fixture = Fixture::new("identity");
    let key = slim_crypto::SigningKey::generate_p256();
    let audiences = vec!["slim".to_owned(), claims_audience(key.public_key())];
    let svid = fixture.api().fetch_jwt_svid(&audiences, None).await.unwrap();
    let identity = slim_auth::Identity::spiffe(svid.token(), key).unwrap();
    let (bundles, _stream) = fixture.api().jwt_bundles().await.unwrap();
    let verifier = Verifier::spiffe(bundles, vec!["slim".to_owned()]);
    let verified = verifier.verify(svid.token(), svid.issued_at).unwrap();
    assert_eq!(verified.subject, identity.subject());
    assert_eq!(verified.public_key, identity.signing_key().public_key());
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end_and_stay_of_one_identity() {
    let fixture = Fixture::new("renew");
    fixture.agent.set_jwt_life(Duration::from_secs(3));
    let source = fixture.tokens().await;
    let mut tokens = source.subscribe();
    let first = source.newest();
    // From now on the agent would give another one first.
    fixture.agent.set_ids(&[BOB, ALICE]);
    let second = next(&mut tokens).await;
    assert_ne!(first.token(), second.token());
    assert_eq!(second.id, id(ALICE));
    assert!(second.issued_at <= first.expires_at, "{first:?} {second:?}");
    assert_eq!(source.newest().token(), second.token());
}

#[tokio::test]
async fn a_token_outlives_an_outage_of_the_agent_and_is_renewed_after_it() {
    let mut fixture = Fixture::new("outage");
    fixture.agent.set_jwt_life(Duration::from_secs(2));
    let source = fixture.tokens().await;
    let mut tokens = source.subscribe();
    let first = source.newest();
    fixture.agent.stop();
    // The renewal is due after a second; one has failed before the agent is back.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(source.newest().token(), first.token());
    fixture.agent.resume().unwrap();
    assert_ne!(next(&mut tokens).await.token(), first.token());
}

#[tokio::test]
async fn rotated_keys_arrive_by_themselves_and_forgotten_ones_go() {
    let fixture = Fixture::new("rotate");
    let source = fixture.bundles(&["example.org"]).await.unwrap();
    let mut bundles = source.subscribe();
    let audiences = ["slim".to_owned()];
    let old = fixture.api().fetch_jwt_svid(&audiences, None).await.unwrap();
    assert!(accepts(&source.newest(), &old));
    fixture.agent.rotate_jwt_key();
    let both = next(&mut bundles).await;
    let new = fixture.api().fetch_jwt_svid(&audiences, None).await.unwrap();
    assert!(accepts(&both, &old) && accepts(&both, &new));
    fixture.agent.forget_old_jwt_keys();
    let newest = next(&mut bundles).await;
    assert!(!accepts(&newest, &old) && accepts(&newest, &new));
}

#[tokio::test]
async fn bundles_outlive_a_restart_of_the_agent_and_are_newest_after_it() {
    let mut fixture = Fixture::new("restart");
    let source = fixture.bundles(&["example.org"]).await.unwrap();
    let mut bundles = source.subscribe();
    fixture.agent.stop();
    fixture.agent.rotate_jwt_key();
    assert!(!source.newest().is_empty());
    fixture.agent.resume().unwrap();
    let after = next(&mut bundles).await;
    let svid = fixture
        .api()
        .fetch_jwt_svid(&["slim".to_owned()], None)
        .await
        .unwrap();
    assert!(accepts(&after, &svid));
}

#[tokio::test]
async fn only_trust_domains_that_are_named_are_believed() {
    let fixture = Fixture::new("domains");
    let partner = Fixture::of("partner", "partner.net", &["spiffe://partner.net/carol"]);
    let alone = fixture.bundles(&["partner.net"]).await;
    assert!(matches!(alone, Err(SpiffeError::NoBundle(domain)) if domain.as_str() == "partner.net"));
    fixture.agent.federate(&partner.agent);
    let carol = partner
        .api()
        .fetch_jwt_svid(&["slim".to_owned()], None)
        .await
        .unwrap();
    let own_only = fixture.bundles(&["example.org"]).await.unwrap();
    assert!(!accepts(&own_only.newest(), &carol));
    let both = fixture.bundles(&["example.org", "partner.net"]).await.unwrap();
    assert!(accepts(&both.newest(), &carol));
}

#[tokio::test]
async fn certificates_come_with_the_cas_of_all_trust_domains_and_again_when_they_change() {
    let fixture = Fixture::new("x509");
    let partner = Fixture::of("x509-partner", "partner.net", &["spiffe://partner.net/carol"]);
    fixture.agent.federate(&partner.agent);
    let source = X509Source::start(fixture.api(), Some(id(BOB))).await.unwrap();
    let mut changes = source.subscribe();
    let first = source.newest();
    assert_eq!(first.svid.id, id(BOB));
    assert_eq!(first.svid.chain.len(), 1);
    let domains: Vec<&str> = first.bundles.keys().map(TrustDomain::as_str).collect();
    assert_eq!(domains, ["example.org", "partner.net"]);
    fixture.agent.replace_ca();
    let second = next(&mut changes).await;
    let own = |certificates: &slim_spiffe::Certificates| certificates.bundles["example.org"].clone();
    assert_ne!(own(&first), own(&second));
    assert_ne!(first.svid.chain, second.svid.chain);
    assert_eq!(first.bundles["partner.net"], second.bundles["partner.net"]);
}

#[tokio::test]
async fn each_failure_says_what_is_wrong_and_what_to_do() {
    let mut fixture = Fixture::new("failures");
    let audiences = ["slim".to_owned()];
    let missing = api(&fixture.folder.join("missing.sock"));
    let error = missing.fetch_jwt_svid(&audiences, None).await.unwrap_err();
    assert!(
        matches!(error, SpiffeError::NoAgent { .. }) && error.is_transient(),
        "{error}"
    );
    assert!(error.to_string().contains("SPIFFE_ENDPOINT_SOCKET"), "{error}");

    let other = "spiffe://example.org/carol";
    let error = X509Source::start(fixture.api(), Some(id(other)))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the SPIFFE agent has no identity {other} for this process; it has: {ALICE}, {BOB}")
    );

    fixture.agent.set_ids(&[]);
    let error = fixture.api().fetch_jwt_svid(&audiences, None).await.unwrap_err();
    assert!(
        matches!(&error, SpiffeError::NoIdentity { message } if message == "no identity issued"),
        "{error}"
    );
    let error = fixture.api().x509_svids(None).await.err().unwrap();
    assert!(matches!(error, SpiffeError::NoIdentity { .. }), "{error}");

    fixture.agent.refuse(Some(Refusal {
        code: 14,
        message: "the server is away".to_owned(),
    }));
    let error = fixture.api().fetch_jwt_svid(&audiences, None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the SPIFFE agent refuses FetchJWTSVID: the server is away (gRPC status 14)"
    );

    // Something that speaks no HTTP/2.
    fixture.agent.stop();
    let listener = tokio::net::UnixListener::bind(fixture.agent.socket()).unwrap();
    let rude = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    });
    let error = fixture.api().fetch_jwt_svid(&audiences, None).await.unwrap_err();
    assert!(matches!(error, SpiffeError::Broken { .. }), "{error}");
    rude.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stands_still_is_not_waited_for_without_end() {
    let fixture = Fixture::new("silent");
    fixture.agent.be_silent(true);
    let error = fixture
        .api()
        .fetch_jwt_svid(&["slim".to_owned()], None)
        .await
        .unwrap_err();
    assert!(matches!(error, SpiffeError::NoAnswer { .. }), "{error}");
    let error = fixture.api().jwt_bundles().await.err().unwrap();
    assert!(matches!(error, SpiffeError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn nothing_that_is_printed_holds_a_token_or_a_key() {
    let fixture = Fixture::new("printed");
    let tokens = fixture.tokens().await;
    let certificates = X509Source::start(fixture.api(), None).await.unwrap();
    let text = format!("{tokens:?} {certificates:?}");
    let token = tokens.newest();
    let signature = token.token().rsplit('.').next().unwrap();
    assert!(text.contains(ALICE) && !text.contains(signature), "{text}");
    let key = format!("{:?}", &certificates.newest().svid.key[40..60]);
    assert!(!text.contains(key.trim_matches(['[', ']'])), "{text}");
}
