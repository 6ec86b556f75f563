//! Until when a certificate is valid, and what to say about it before it is too late.

use rustls::pki_types::{CertificateDer, UnixTime};

use super::subject::{SEQUENCE, take, take_any};

/// Certificates are warned about this long before they expire: time for people, also over holidays.
pub(super) const WARNING_DAYS: u64 = 30;

const DAY_SECS: u64 = 24 * 60 * 60;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xA0;
const INTEGER: u8 = 0x02;

/// What there is to say about a certificate's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryNote {
    /// Nobody accepts it any more.
    #[error("the certificate expired {days_ago} days ago and nobody accepts it; replace it")]
    Expired {
        /// Whole days since.
        days_ago: u64,
    },
    /// Soon nobody will accept it.
    #[error("the certificate expires in {days} days; replace it before")]
    Soon {
        /// Whole days until.
        days: u64,
    },
}

/// What there is to say at `now`; nothing if the certificate has more than 30 days.
pub(super) fn note(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<ExpiryNote> {
    let end = not_after(certificate)?;
    let now = now.as_secs();
    if end < now {
        return Some(ExpiryNote::Expired {
            days_ago: (now - end) / DAY_SECS,
        });
    }
    let days = (end - now) / DAY_SECS;
    (days < WARNING_DAYS).then_some(ExpiryNote::Soon { days })
}

/// The end of a certificate's life in seconds since 1970 (RFC 5280 §4.1.2.5); 0 for an end before.
fn not_after(certificate: &CertificateDer<'_>) -> Option<u64> {
    let mut whole = certificate.as_ref();
    let mut certificate = take(&mut whole, SEQUENCE)?;
    let mut signed = take(&mut certificate, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        take(&mut signed, VERSION)?;
    }
    take(&mut signed, INTEGER)?;
    // The algorithm and the issuer.
    take(&mut signed, SEQUENCE)?;
    take(&mut signed, SEQUENCE)?;
    let mut validity = take(&mut signed, SEQUENCE)?;
    take_any(&mut validity)?;
    match take_any(&mut validity)? {
        (UTC_TIME, text) => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            seconds(if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, text) => {
            let (year, rest) = text.split_at_checked(4)?;
            seconds(number(year)?, rest)
        }
        _ => None,
    }
}

/// `MMDDHHMMSSZ` of a year.
fn seconds(year: u64, text: &[u8]) -> Option<u64> {
    let &[m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'Z'] = text else {
        return None;
    };
    let month = number(&[m1, m2]).filter(|month| (1..=12).contains(month))?;
    let day = number(&[d1, d2]).filter(|day| (1..=31).contains(day))?;
    let time = number(&[h1, h2])? * 3600 + number(&[n1, n2])? * 60 + number(&[s1, s2])?;
    if year < 1970 {
        return Some(0);
    }
    Some(days_since_1970(year, month, day) * DAY_SECS + time)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_days_until = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let month_index = usize::try_from(month - 1).unwrap_or(0);
    (year - 1970) * 365 + leap_days_until(year - 1) - leap_days_until(1969)
        + BEFORE_MONTH.get(month_index).copied().unwrap_or(0)
        + u64::from(is_leap && month > 2)
        + day
        - 1
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        Some(number * 10 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn certificate(year: i32, month: u8, day: u8) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_spellings() {
        // UTCTime until 2049, GeneralizedTime from 2050 on; leap days before and after February.
        for (year, month, day, expected) in [
            (2024, 2, 29, 1_709_164_800),
            (2024, 3, 1, 1_709_251_200),
            (2026, 11, 22, 1_795_305_600),
            (2049, 12, 31, 2_524_521_600),
            (2100, 3, 1, 4_107_542_400),
        ] {
            assert_eq!(
                not_after(&certificate(year, month, day)),
                Some(expected),
                "{year}-{month}-{day}"
            );
        }
    }

    #[test]
    fn notes_begin_thirty_days_before_the_end() {
        let certificate = certificate(2026, 11, 22);
        let at = |days: i64| {
            let seconds = 1_795_305_600_i64 + days * 24 * 60 * 60;
            note(
                &certificate,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds.unsigned_abs())),
            )
        };
        assert_eq!(at(-31), None);
        assert_eq!(at(-29), Some(ExpiryNote::Soon { days: 29 }));
        assert_eq!(at(0), Some(ExpiryNote::Soon { days: 0 }));
        assert_eq!(at(3), Some(ExpiryNote::Expired { days_ago: 3 }));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for bytes in [&b""[..], b"\x30\x03\x30\x01\x02", b"not a certificate"] {
            assert_eq!(not_after(&CertificateDer::from(bytes.to_vec())), None);
        }
    }
}
