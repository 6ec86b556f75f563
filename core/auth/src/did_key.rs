//! `did:key` of an Ed25519 key: a name that is the key itself (did:key §3.1.4.1, wire-session §1.5).

/// Multicodec of an Ed25519 public key, before the key itself.
const ED25519: [u8; 2] = [0xed, 0x01];
/// The digits of base58 as Bitcoin has them: none looks like another.
const DIGITS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The name of a key of 32 bytes.
pub(crate) fn of_ed25519(key: &[u8]) -> String {
    format!("did:key:z{}", base58(&[&ED25519, key].concat()))
}

/// Bytes that do not begin with zero, as a number in base 58, most significant digit first.
fn base58(bytes: &[u8]) -> String {
    let mut digits: Vec<u32> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += *digit << 8;
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    let digit = |digit: &u32| usize::try_from(*digit).ok().and_then(|at| DIGITS.get(at));
    let text = digits.iter().rev().filter_map(digit);
    text.map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_comes_out() {
        let key = [
            0x2e, 0x6f, 0xcc, 0xe3, 0x67, 0x01, 0xdc, 0x79, 0x14, 0x88, 0xe0, 0xd0, 0xb1, 0x74, 0x5c, 0xc1,
            0xe3, 0x3a, 0x4c, 0x1c, 0x9f, 0xcc, 0x41, 0xc6, 0x3b, 0xd3, 0x43, 0xdb, 0xbe, 0x09, 0x70, 0xe6,
        ];
        assert_eq!(
            of_ed25519(&key),
            "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
        );
    }
}
