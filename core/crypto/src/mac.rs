//! HMAC-SHA256 and HKDF-SHA256 (wire-session §1.3, wire-routing's header MAC).

use std::fmt;

use aws_lc_rs::{hkdf, hmac};

/// Bytes of an HMAC-SHA256 tag and of a derived key.
const TAG_BYTES: usize = 32;

/// A prepared HMAC-SHA256 key: the key schedule is computed once, which matters for the MAC of every frame.
#[derive(Clone)]
pub struct HmacKey(hmac::Key);

impl HmacKey {
    /// Prepares a key of any length.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The tag of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut tag = [0; TAG_BYTES];
        // HMAC-SHA256 tags have exactly this length.
        tag.copy_from_slice(hmac::sign(&self.0, message).as_ref());
        tag
    }

    /// True if `tag` is the tag of `message`; compares in constant time.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey([redacted])")
    }
}

/// HMAC-SHA256 with a key that is used once.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    HmacKey::new(key).sign(message)
}

/// True if `tag` is the HMAC-SHA256 of `message`; compares in constant time and refuses truncated tags.
pub fn verify(key: &[u8], message: &[u8], tag: &[u8]) -> bool {
    HmacKey::new(key).verify(message, tag)
}

/// HKDF-SHA256 (RFC 5869), extract and expand, 32 bytes of output.
pub fn hkdf_sha256(input_key: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let mut output = [0; TAG_BYTES];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(input_key)
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|key| key.fill(&mut output))
        .expect("one hash length is within the limit of HKDF");
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn hmac_matches_rfc_4231_cases_1_2_and_6() {
        for (key, message, tag) in [
            (
                vec![0x0b; 20],
                b"Hi There".to_vec(),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hmac_sha256(&key, &message).to_vec(), unhex(tag));
            assert!(verify(&key, &message, &unhex(tag)));
        }
    }

    #[test]
    fn a_changed_or_truncated_tag_is_refused() {
        let key = HmacKey::new(b"key");
        let mut tag = key.sign(b"message");
        assert!(key.verify(b"message", &tag));
        assert!(!key.verify(b"massage", &tag));
        assert!(!key.verify(b"message", &tag[..31]));
        assert!(!key.verify(b"message", &[]));
        tag[31] ^= 1;
        assert!(!key.verify(b"message", &tag));
    }

    #[test]
    fn hkdf_matches_rfc_5869_cases_1_and_3_in_their_first_32_bytes() {
        assert_eq!(
            hkdf_sha256(
                &[0x0b; 22],
                &unhex("000102030405060708090a0b0c"),
                &unhex("f0f1f2f3f4f5f6f7f8f9")
            )
            .to_vec(),
            unhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
        );
        assert_eq!(
            hkdf_sha256(&[0x0b; 22], &[], &[]).to_vec(),
            unhex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d")
        );
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(format!("{:?}", HmacKey::new(b"canary")), "HmacKey([redacted])");
    }
}
