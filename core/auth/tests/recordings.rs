//! Tokens and signatures of upstream's recorded messages verify, and ours survive the wire.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use bytes::Bytes;
use slim_auth::{
    AuthenticationError, Identity, IdentityError, PayloadSignatures, SignatureFailure, Verifier,
    authenticate, sign_message, verify_message,
};
use slim_crypto::Rng;
use slim_proto::message::metadata::PAYLOAD_SIGNATURE;
use slim_proto::{Command, FullName, Message, MessageKind, SessionKind, UnixTime};

const SECRET: &str = "secret-0123456789-0123456789-abcdef";

/// The DISCOVERY_REQUEST of wire-session §10.
const DISCOVERY_REQUEST: &str = "1a92040af7030a490a3708bbacaab7b780969f870110d1a1a6e3a4d3ddfcee0118c382dff1b5e7c8ab6b221508e2a6ebc0f0a1a4a02210eb94caefd0e4f7fd9c01120e0a036f726712026e731a03636c69124b0a3908bbacaab7b780969f870110d1a1a6e3a4d3ddfcee0118c5d6ffbdedffa092a301221608ffffffffffffffffff0110ffffffffffffffffff01120e0a036f726712026e731a037372771ae3016f72672f6e732f636c695f74753975593038563a313739353335363033323a68414c6e396d2d4972393674676c4c353a65794a7764574a725a586b694f694a4354473144546c4e3555565a586232644e616e524e5546647356314a59636b525a544555334f55397156334a775333457761465a4e4d45786e5333564d516b6835646e564d4c30567054474672636d49775179747754564131564852315a4756444d6e5a4654484d7a625555314c327850517a5139496e303a54784f3645464d4f44514d6a5032716e6e464879786944546f69486641544544557536574937575f51766720012a05332e342e36300848005a20d312211a0e78416ba7ab0d4e0bc80cea919fc8a06f3221099603620b96480aad62483046022100fc69c42a6435e27f964e3f367fd6e10f53e055891acfc2aa93227c115c4bf85e022100d55042fb8efa4336955195428db389fe1a430f83573c310c147d8df880ccc7d012100802100518f2d3ebd40220968ac9be0a1a0412020a0022740a10736c696d2d7061796c6f61642d73696712604d45554349416a6f635348435679786637377252446b6438696f6c312f72394b63524d6b58646c4b70424a684a69704b416945417a6b6d59456d4267533661514873567672704b594f7856676c7732783745757a334a6849744763777451673d";

const RECORDINGS: [(&str, &str); 3] = [
    (
        "group-3.3.8-mls",
        include_str!("../../proto/vectors/group-3.3.8-mls.jsonl"),
    ),
    (
        "group-3.3.8-plain",
        include_str!("../../proto/vectors/group-3.3.8-plain.jsonl"),
    ),
    (
        "p2p-3.3.8-mls",
        include_str!("../../proto/vectors/p2p-3.3.8-mls.jsonl"),
    ),
];

#[test]
fn the_discovery_request_of_the_wire_document_verifies() {
    let message = Message::decode(unhex(DISCOVERY_REQUEST)).unwrap().unwrap();
    assert_eq!(message.kind, MessageKind::DiscoveryRequest);
    let verified = authenticate(&message, &Verifier::shared_secret(SECRET), token_time(&message)).unwrap();
    assert_eq!(verified.subject, "org/ns/cli_tu9uY08V");
    assert_eq!(verified.name_id(), message.source.id());
}

#[test]
fn every_recorded_command_message_verifies() {
    let verifier = Verifier::shared_secret(SECRET);
    for (name, recording) in RECORDINGS {
        let mut checked = 0;
        for message in messages(recording) {
            if !message.kind.is_command() {
                continue;
            }
            let verified = authenticate(&message, &verifier, token_time(&message))
                .unwrap_or_else(|error| panic!("{name}: {:?}: {error}", message.kind));
            assert_eq!(verified.name_id(), message.source.id());
            checked += 1;
        }
        // A point-to-point session alone has eight command messages, each seen on two links.
        assert!(checked >= 16, "{name}: only {checked} command messages");
    }
}

#[test]
fn the_tokens_of_recorded_data_messages_verify_too() {
    let verifier = Verifier::shared_secret(SECRET);
    let data = RECORDINGS.iter().flat_map(|(_, recording)| messages(recording));
    let mut checked = 0;
    for message in data.filter(|message| !message.kind.is_command()) {
        let verified = verifier.verify(&message.identity, token_time(&message)).unwrap();
        assert_eq!(verified.name_id(), message.source.id());
        checked += 1;
    }
    assert!(checked >= 20, "only {checked} data messages");
}

#[test]
fn a_recorded_message_with_anything_signed_changed_is_refused() {
    let verifier = Verifier::shared_secret(SECRET);
    let message = Message::decode(unhex(DISCOVERY_REQUEST)).unwrap().unwrap();
    let now = token_time(&message);
    let refusal = |change: &dyn Fn(&mut Message)| {
        let mut changed = message.clone();
        change(&mut changed);
        authenticate(&changed, &verifier, now).unwrap_err()
    };
    let signature = AuthenticationError::Signature;
    let other = FullName::new("org", "ns", "other").unwrap();
    for (change, expected) in [
        (
            Box::new(|m: &mut Message| m.session_id += 1) as Box<dyn Fn(&mut Message)>,
            SignatureFailure::HeaderInvalid,
        ),
        (Box::new(|m| m.message_id += 1), SignatureFailure::HeaderInvalid),
        (
            Box::new(|m| m.session_kind = SessionKind::PointToPoint),
            SignatureFailure::HeaderInvalid,
        ),
        (
            Box::new(move |m| m.destination = other.clone()),
            SignatureFailure::HeaderInvalid,
        ),
        (
            Box::new(|m| m.header_signature = None),
            SignatureFailure::HeaderUnsigned,
        ),
        (
            Box::new(|m| m.header_signature = Some(Bytes::new())),
            SignatureFailure::HeaderInvalid,
        ),
        (
            Box::new(|m| drop(m.metadata.remove(PAYLOAD_SIGNATURE))),
            SignatureFailure::PayloadUnsigned,
        ),
        (
            Box::new(|m| drop(m.metadata.insert(PAYLOAD_SIGNATURE.into(), "?".into()))),
            SignatureFailure::PayloadMalformed,
        ),
        (
            Box::new(|m| drop(m.metadata.insert("key".into(), "value".into()))),
            SignatureFailure::PayloadInvalid,
        ),
    ] {
        assert_eq!(refusal(&*change), signature(expected));
    }
    assert!(matches!(
        refusal(&|m| m.source = m.source.without_id()),
        AuthenticationError::Signature(SignatureFailure::SourceNotBound { .. })
    ));
    assert!(matches!(
        refusal(&|m| m.identity.clear()),
        AuthenticationError::Identity(IdentityError::Malformed(_))
    ));
    // Nodes may change these on the way.
    let mut travelled = message.clone();
    travelled.ttl -= 1;
    travelled.metadata.insert("traceparent".into(), "00-ab".into());
    assert!(authenticate(&travelled, &verifier, now).is_ok());
}

#[test]
fn our_signed_message_verifies_after_the_wire_and_again_with_a_new_token() {
    let mut rng = Rng::from_seed([4; 32]);
    let identity = Identity::shared_secret("org/ns/app", SECRET, &mut rng).unwrap();
    let verifier = Verifier::shared_secret(SECRET);
    let name = FullName::new("org", "ns", "app")
        .unwrap()
        .with_id(identity.name_id());
    let peer = FullName::new("org", "ns", "peer").unwrap();
    let mut message = Message::new(
        name,
        peer,
        SessionKind::Group,
        7,
        8,
        Command::Heartbeat { epoch: 3 },
    );
    message.metadata.insert("topic".into(), "demo".into());
    for now in [UnixTime(1_000), UnixTime(2_000)] {
        message.identity = identity.token(now, &mut rng);
        sign_message(&identity, &mut message);
        let received = Message::decode(message.encode()).unwrap().unwrap();
        assert_eq!(
            authenticate(&received, &verifier, now).unwrap().subject,
            identity.subject()
        );
    }
    let impostor = Identity::shared_secret("org/ns/app", SECRET, &mut rng).unwrap();
    let token = impostor.token(UnixTime(1_000), &mut rng);
    let verified = verifier.verify(&token, UnixTime(1_000)).unwrap();
    assert!(matches!(
        verify_message(&message, &verified, PayloadSignatures::Required),
        Err(SignatureFailure::SourceNotBound { .. })
    ));
}

#[test]
fn a_payload_without_signature_passes_only_where_it_may_and_a_wrong_signature_never() {
    let mut rng = Rng::from_seed([3; 32]);
    let identity = Identity::shared_secret("org/ns/app", SECRET, &mut rng).unwrap();
    let (verifier, now) = (identity.verifier(), UnixTime(1_000));
    let mut message = messages(RECORDINGS[0].1)
        .find(|message| message.kind.is_command())
        .unwrap();
    message.source = message.source.with_id(identity.name_id());
    message.identity = identity.token(now, &mut rng);
    sign_message(&identity, &mut message);
    let verified = verifier.verify(&message.identity, now).unwrap();
    let with = |message: &Message, payload| verify_message(message, &verified, payload);

    message.metadata.insert("key".into(), "value".into());
    for payload in [PayloadSignatures::Required, PayloadSignatures::MayBeAbsent] {
        assert_eq!(with(&message, payload), Err(SignatureFailure::PayloadInvalid));
    }
    message.metadata.remove(PAYLOAD_SIGNATURE);
    assert_eq!(with(&message, PayloadSignatures::MayBeAbsent), Ok(()));
    assert_eq!(
        with(&message, PayloadSignatures::default()),
        Err(SignatureFailure::PayloadUnsigned)
    );
    message.header_signature = None;
    assert_eq!(
        with(&message, PayloadSignatures::MayBeAbsent),
        Err(SignatureFailure::HeaderUnsigned)
    );
}

/// Every Publish of a recording, both directions.
fn messages(recording: &str) -> impl Iterator<Item = Message> {
    recording.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Message::decode(unhex(line["hex"].as_str().unwrap())).unwrap()
    })
}

fn token_time(message: &Message) -> UnixTime {
    let time = message.identity.split(':').nth(1).unwrap();
    UnixTime(time.parse().unwrap())
}

fn unhex(text: &str) -> Bytes {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
