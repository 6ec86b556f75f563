//! Looking into key packages without using them, and reading MLS messages strictly.

use mls_rs::MlsMessage;
use mls_rs::mls_rs_codec::MlsSize as _;

use crate::credential::token_of;
use crate::error::{MessageName, MlsError};

/// Whom a key package claims to add.
///
/// Nothing is verified: [`Group::add`](crate::Group::add) does that. The moderator uses it to check that the
/// key package belongs to the participant that sent it (wire-session §2.3).
pub fn key_package_subject(key_package: &[u8]) -> Result<String, MlsError> {
    subject_of(&parse(key_package).ok_or(MlsError::Malformed)?)
}

/// The token in a key package; nothing is verified.
pub fn key_package_token(key_package: &[u8]) -> Result<String, MlsError> {
    let message = parse(key_package).ok_or(MlsError::Malformed)?;
    let key_package = message
        .as_key_package()
        .ok_or(MlsError::Unexpected(MessageName::KeyPackage))?;
    Ok(token_of(key_package.signing_identity())?.to_owned())
}

pub(crate) fn subject_of(message: &MlsMessage) -> Result<String, MlsError> {
    let key_package = message
        .as_key_package()
        .ok_or(MlsError::Unexpected(MessageName::KeyPackage))?;
    let token = token_of(key_package.signing_identity())?;
    let subject = slim_auth::claimed_subject(token).ok_or(crate::CredentialError::NotToken)?;
    Ok(subject.into_owned())
}

/// What every MLSMessage of MLS 1.0 begins with (RFC 9420 §6).
const MLS_10: [u8; 2] = [0, 1];

/// Decodes one MLSMessage of MLS 1.0 that fills its bytes exactly.
pub(crate) fn parse(bytes: &[u8]) -> Option<MlsMessage> {
    // The library looks at the version around a key package nowhere, and no signature covers it.
    if !bytes.starts_with(&MLS_10) {
        return None;
    }
    let message = MlsMessage::from_bytes(bytes).ok()?;
    // The library stops reading at the end of the message; what follows would be ours to explain.
    (message.mls_encoded_len() == bytes.len()).then_some(message)
}
