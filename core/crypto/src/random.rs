//! Seeded randomness for the core and the system randomness that seeds it.

use std::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The letters of random names, upper before lower before digits.
const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A reproducible random generator (ChaCha12): the same seed gives the same numbers on every machine.
///
/// The core takes all its randomness from one of these, so a simulation repeats exactly. With a seed from
/// [`os_seed`] its output is fit for nonces and ids. `Clone` is left out on purpose: two copies would draw the
/// same "random" values; use [`derive`](Self::derive) for a child.
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// The generator of this seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// Fills the buffer.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A uniform 32-bit number.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A uniform 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform number below `bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Draws from the incomplete last block of `bound` numbers would favour small results.
        let remainder = (u64::MAX % bound + 1) % bound;
        loop {
            let draw = self.next_u64();
            if draw <= u64::MAX - remainder {
                return draw % bound;
            }
        }
    }

    /// A random text of ASCII letters and digits, `length` characters.
    pub fn alphanumeric(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| {
                let index = usize::try_from(self.below(62)).expect("below 62");
                char::from(ALPHANUMERIC[index])
            })
            .collect()
    }

    /// A random UUID, version 4 (RFC 9562), as lower-case text.
    pub fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let number = u128::from_be_bytes(bytes);
        let number = (number & !(0xF << 76) | 0x4 << 76) & !(0x3 << 62) | 0x2 << 62;
        let hex = format!("{number:032x}");
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// A seed for a child generator whose numbers are independent of the later ones of this generator.
    pub fn derive(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        seed
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng([redacted])")
    }
}

/// 32 bytes of system randomness; the shell seeds one [`Rng`] with it at start.
///
/// # Panics
/// If the operating system has no randomness, which leaves nothing safe to do.
pub fn os_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).expect("the operating system provides randomness");
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers_and_children_differ() {
        let (mut one, mut other) = (Rng::from_seed([7; 32]), Rng::from_seed([7; 32]));
        assert_eq!(one.next_u64(), other.next_u64());
        assert_eq!(one.alphanumeric(20), other.alphanumeric(20));
        let (first, second) = (one.derive(), one.derive());
        assert_ne!(first, second);
        assert_eq!(first, other.derive());
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_every_value() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut seen = [0u32; 7];
        for _ in 0..7000 {
            seen[usize::try_from(rng.below(7)).unwrap()] += 1;
        }
        // Expected 1000 each, standard deviation 29: the seed is fixed, the band is six deviations.
        assert!(seen.iter().all(|count| (826..=1174).contains(count)), "{seen:?}");
        assert_eq!(rng.below(1), 0);
        assert_eq!(rng.below(0), 0);
        let large = u64::MAX / 2 + 2;
        assert!((0..100).all(|_| rng.below(large) < large));
    }

    #[test]
    fn random_text_uses_the_whole_alphabet() {
        let text = Rng::from_seed([3; 32]).alphanumeric(5000);
        assert_eq!(text.len(), 5000);
        assert!(
            ALPHANUMERIC
                .iter()
                .all(|letter| text.contains(char::from(*letter)))
        );
    }

    #[test]
    fn uuids_are_of_version_4_and_differ() {
        let mut rng = Rng::from_seed([5; 32]);
        let (first, second) = (rng.uuid(), rng.uuid());
        assert_ne!(first, second);
        for uuid in [first, second] {
            assert_eq!(uuid.len(), 36);
            assert_eq!(&uuid[14..15], "4", "{uuid}");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
    }

    #[test]
    fn system_seeds_differ() {
        assert_ne!(os_seed(), os_seed());
    }
}
