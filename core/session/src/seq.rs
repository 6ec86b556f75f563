//! Sequence numbers of data messages: 1, 2, 3 … 2^31 − 1, then 0 (wire-session §0.5).
//!
//! This is the only place that knows the wrap. Inside, a stream counts positions in 64 bits; on the wire
//! travels the position modulo 2^31.

/// Sequence numbers are below this; numbers from here up belong to direct messages.
pub(crate) const MODULUS: u64 = 1 << 31;

/// The number on the wire of a position.
pub(crate) fn wire_id(position: u64) -> u32 {
    u32::try_from(position % MODULUS).unwrap_or(0)
}

/// The position that a number on the wire means, given a position near it: at most half the circle ahead
/// counts as "after", everything else as "before".
pub(crate) fn position_near(id: u32, reference: u64) -> Option<u64> {
    let id = u64::from(id);
    if id >= MODULUS {
        return None;
    }
    let ahead = (id + MODULUS - reference % MODULUS) % MODULUS;
    if ahead <= MODULUS / 2 {
        Some(reference + ahead)
    } else {
        reference.checked_sub(MODULUS - ahead)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_wrap_from_the_largest_to_zero() {
        assert_eq!(wire_id(MODULUS - 1), 2_147_483_647);
        assert_eq!(wire_id(MODULUS), 0);
        assert_eq!(position_near(0, MODULUS - 1), Some(MODULUS));
        assert_eq!(position_near(2_147_483_647, MODULUS), Some(MODULUS - 1));
    }

    #[test]
    fn a_number_before_the_start_is_no_position() {
        assert_eq!(position_near(2_147_483_640, 3), None);
        assert_eq!(position_near(u32::MAX, 3), None);
    }

    proptest! {
        #[test]
        fn positions_within_half_the_circle_survive_the_wire(reference in 0u64..1 << 40, ahead in 0u64..MODULUS / 2) {
            prop_assert_eq!(position_near(wire_id(reference + ahead), reference), Some(reference + ahead));
            prop_assert_eq!(position_near(wire_id(reference), reference + ahead / 2), Some(reference));
        }
    }
}
