//! The one door to cryptography: MAC, key agreement, signatures, randomness.
