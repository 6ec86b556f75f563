//! Signatures that bind a command message to its identity token (wire-session §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use slim_crypto::verify_signature;
use slim_proto::aad::{header_aad, payload_signing_input};
use slim_proto::message::metadata::PAYLOAD_SIGNATURE;
use slim_proto::{Message, UnixTime};

use crate::error::{AuthenticationError, SignatureFailure};
use crate::identity::Identity;
use crate::verifier::{Verified, Verifier};

/// What is demanded of the payload of a command message (wire-session §2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadSignatures {
    /// It is signed.
    #[default]
    Required,
    /// It may be unsigned, as that of the package 2.2.0 is; a signature that is there has to verify. Weak: whoever is
    /// on the path, each node included, can take a signature away and change what the message says.
    MayBeAbsent,
}

/// Signs header and payload of a command message, replacing older signatures.
///
/// Everything else must be final, `message.identity` (a token of `identity`) included: a retransmission with a
/// new token is signed again.
pub fn sign_message(identity: &Identity, message: &mut Message) {
    debug_assert!(
        !message.identity.is_empty(),
        "the token is part of what is signed"
    );
    let aad = header_aad(message);
    let key = identity.signing_key();
    let payload_signature = key.sign(&payload_signing_input(message, &aad));
    message.header_signature = Some(Bytes::from(key.sign(&aad)));
    message
        .metadata
        .insert(PAYLOAD_SIGNATURE.to_owned(), STANDARD.encode(payload_signature));
}

/// Checks that a command message is from the holder of a token: both signatures and the source id.
///
/// `verified` must come from the token in this very message; [`authenticate`] does both steps. With
/// [`PayloadSignatures::Required`] all three checks are mandatory, which is the policy that upstream calls `enforce`
/// (wire-session §2.3).
pub fn verify_message(
    message: &Message,
    verified: &Verified,
    payload: PayloadSignatures,
) -> Result<(), SignatureFailure> {
    let (source_id, subject_id) = (message.source.id(), verified.name_id());
    if source_id != subject_id {
        return Err(SignatureFailure::SourceNotBound {
            source_id,
            subject_id,
        });
    }
    let header_signature = message
        .header_signature
        .as_ref()
        .ok_or(SignatureFailure::HeaderUnsigned)?;
    let payload_signature = match message.metadata.get(PAYLOAD_SIGNATURE) {
        Some(text) => {
            let decoded = STANDARD.decode(text);
            Some(decoded.map_err(|_| SignatureFailure::PayloadMalformed)?)
        }
        None if payload == PayloadSignatures::MayBeAbsent => None,
        None => return Err(SignatureFailure::PayloadUnsigned),
    };

    let aad = header_aad(message);
    verify_signature(&verified.public_key, &aad, header_signature)
        .map_err(|_| SignatureFailure::HeaderInvalid)?;
    let Some(payload_signature) = payload_signature else {
        return Ok(());
    };
    verify_signature(
        &verified.public_key,
        &payload_signing_input(message, &aad),
        &payload_signature,
    )
    .map_err(|_| SignatureFailure::PayloadInvalid)
}

/// Who sent this command message? Verifies its token at `now` and its signatures.
pub fn authenticate(
    message: &Message,
    verifier: &Verifier,
    now: UnixTime,
) -> Result<Verified, AuthenticationError> {
    let verified = verifier.verify(&message.identity, now)?;
    verify_message(message, &verified, PayloadSignatures::Required)?;
    Ok(verified)
}
