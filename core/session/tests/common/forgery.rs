//! Messages of somebody who should not send them, and whether a group survived them.

use slim_auth::{Identity, sign_message};
use slim_crypto::Rng;
use slim_proto::{Command as Payload, FullName, Message, SessionKind};
use slim_session::SessionId;

use super::Net;

/// A command message signed by an identity that need not be the source.
pub fn forged(
    net: &Net,
    signer: &Identity,
    source: &FullName,
    to: &FullName,
    session: SessionId,
    payload: Payload,
) -> Message {
    let mut rng = Rng::from_seed([net.trace.len() as u8; 32]);
    let mut message = Message::new(
        source.clone(),
        to.clone(),
        SessionKind::Group,
        session.0,
        rng.next_u32() | 1,
        payload,
    );
    message.identity = signer.token(net.now.unix, &mut rng);
    sign_message(signer, &mut message);
    message
}

pub fn signed_by(net: &Net, signer: &str, to: &str, session: SessionId, payload: Payload) -> Message {
    forged(
        net,
        &net.app(signer).identity,
        &net.name(signer),
        &net.name(to),
        session,
        payload,
    )
}

pub fn alive(net: &mut Net, session: SessionId, members: &[&str]) {
    net.assert_agreement(session, members);
    for member in members {
        net.publish(member, session, "alive").unwrap();
    }
}
