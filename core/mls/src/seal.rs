//! Application messages: PrivateMessages with the header as authenticated data (wire-session §3.5, §3.6).

use bytes::Bytes;
use mls_rs::MlsMessageDescription;
use mls_rs::group::{ContentType, ReceivedMessage};

use crate::error::{MlsError, OpenError};
use crate::group::Group;
use crate::key_package::parse;

/// An opened message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What was sealed.
    pub plaintext: Bytes,
    /// What was sealed along in clear; the caller compares it with the header it received.
    pub aad: Vec<u8>,
    /// The subject that sealed the message, from the roster of the message's epoch.
    pub sender: String,
    /// Who vouches for the sender, if its token is a JWT that tells.
    pub issuer: Option<String>,
    /// The epoch that the message was sealed in.
    pub epoch: u64,
}

impl Group {
    /// Seals a message for the members of the current epoch, as an MLSMessage.
    ///
    /// Each call uses up one key: a retransmission is sealed anew, never repeated byte by byte.
    pub fn seal(&mut self, plaintext: &[u8], aad: Vec<u8>) -> Result<Bytes, MlsError> {
        if self.removed {
            return Err(MlsError::Removed);
        }
        let message = self.inner.encrypt_application_message(plaintext, aad)?;
        Ok(message.to_bytes()?.into())
    }

    /// Opens a message of the current epoch or of one of the last three; each message opens once.
    pub fn open(&mut self, ciphertext: &[u8]) -> Result<Opened, OpenError> {
        let message = parse(ciphertext).ok_or(OpenError::Malformed)?;
        let MlsMessageDescription::PrivateProtocolMessage {
            group_id,
            epoch_id: epoch,
            content_type: ContentType::Application,
        } = message.description()
        else {
            return Err(OpenError::Malformed);
        };
        if group_id != self.inner.group_id() {
            return Err(OpenError::WrongGroup);
        }
        if epoch > self.epoch() {
            return Err(OpenError::FutureEpoch { epoch });
        }
        // The library uses up the key before it knows whether the message is genuine. Working on a copy keeps
        // a forged message from spoiling the genuine one. The copy is of the size of the tree: opening takes some
        // 65 us with 2 members, 105 with 50, 1200 with 600 (dev profile, 2 shared cores), sealing 22 at any size.
        let mut trial = self.inner.clone();
        let received = trial
            .process_incoming_message(message)
            .map_err(|error| OpenError::from_library(error, epoch))?;
        let ReceivedMessage::ApplicationMessage(opened) = received else {
            return Err(OpenError::Malformed);
        };
        let sender = self
            .member_in(epoch, opened.sender_index)
            .ok_or(OpenError::SenderLeft { epoch })?;
        let (sender, issuer) = (sender.subject.clone(), sender.issuer.clone());
        self.inner = trial;
        Ok(Opened {
            plaintext: Bytes::copy_from_slice(opened.data()),
            aad: opened.authenticated_data,
            sender,
            issuer,
            epoch,
        })
    }
}
