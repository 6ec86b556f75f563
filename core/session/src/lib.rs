//! What an application endpoint says: discovery, sessions, moderation, reliability.
