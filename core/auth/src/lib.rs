//! Make and check identity tokens, given the time.
