//! Reading the one key of a PEM text (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::TokenKeyError;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// A section of a PEM text.
pub(crate) struct Section<'a> {
    /// "PUBLIC KEY", for instance.
    pub(crate) label: &'a str,
    /// The content, which may be a private key.
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// True if the text is meant to be PEM.
pub(crate) fn is_pem(text: &str) -> bool {
    text.contains(BEGIN)
}

/// The only section of a text, apart from the `EC PARAMETERS` that openssl writes in front of a key.
pub(crate) fn read(text: &str) -> Result<Section<'_>, TokenKeyError> {
    let mut found = None;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(DASHES))
        else {
            continue;
        };
        let mut content = Zeroizing::new(String::new());
        loop {
            let line = lines.next().ok_or(TokenKeyError::NotPem)?;
            if let Some(end) = line.strip_prefix(END) {
                if end.strip_suffix(DASHES) != Some(label) {
                    return Err(TokenKeyError::NotPem);
                }
                break;
            }
            content.push_str(line);
        }
        if label == "EC PARAMETERS" {
            continue;
        }
        let der = STANDARD
            .decode(content.as_bytes())
            .map_err(|_| TokenKeyError::DamagedPem)?;
        let section = Section {
            label,
            der: Zeroizing::new(der),
        };
        if found.replace(section).is_some() {
            return Err(TokenKeyError::NotPem);
        }
    }
    found.ok_or(TokenKeyError::NotPem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_section_is_read_whatever_surrounds_it() {
        let text = "comment\r\n-----BEGIN EC PARAMETERS-----\r\nAAAA\r\n-----END EC PARAMETERS-----\r\n\
                    -----BEGIN PUBLIC KEY-----\r\nAQID\r\n  BAUG  \r\n-----END PUBLIC KEY-----\r\nmore";
        let section = read(text).unwrap();
        assert_eq!(section.label, "PUBLIC KEY");
        assert_eq!(*section.der, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn broken_texts_are_refused() {
        let key = "-----BEGIN A-----\nAQID\n-----END A-----\n";
        for (text, expected) in [
            (String::new(), TokenKeyError::NotPem),
            ("secret".into(), TokenKeyError::NotPem),
            (key.repeat(2), TokenKeyError::NotPem),
            (key.replace("END A", "END B"), TokenKeyError::NotPem),
            (key.replace("-----END A-----", ""), TokenKeyError::NotPem),
            (key.replace("AQID", "AQI"), TokenKeyError::DamagedPem),
            (
                key.replace("AQID", "Proc-Type: 4,ENCRYPTED\nAQID"),
                TokenKeyError::DamagedPem,
            ),
        ] {
            assert_eq!(read(&text).err(), Some(expected), "{text}");
        }
    }
}
