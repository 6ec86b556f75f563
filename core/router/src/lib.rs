//! Which link a frame goes to: handshake, subscriptions, forwarding.
