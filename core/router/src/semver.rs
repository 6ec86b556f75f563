//! Strict semantic versions, as far as a link negotiation looks at them (wire-routing A2.6, C15).

/// True if `text` is `MAJOR.MINOR.PATCH[-pre][+build]` by the grammar of semver.org 2.0.0.
pub(crate) fn is_strict_version(text: &str) -> bool {
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    // The first hyphen starts the pre-release; later ones belong to it.
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| {
            pre.split('.')
                .all(|part| is_identifier(part) && !has_leading_zero(part))
        })
        && build.is_none_or(|build| build.split('.').all(is_identifier))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && !has_leading_zero(text) && text.parse::<u64>().is_ok()
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_strict_version;

    #[test]
    fn only_strict_versions_pass() {
        for good in [
            "0.0.0",
            "3.4.6",
            "10.20.30",
            "1.0.0-alpha.1",
            "1.0.0--",
            "1.0.0-0a.b-c",
            "1.0.0+001",
            "1.0.0-rc.1+build.5",
            "1.0.0-0",
        ] {
            assert!(is_strict_version(good), "{good}");
        }
        for bad in [
            "",
            "3.4",
            "v1.2.3",
            "1.2.3.4",
            "01.2.3",
            "1.02.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3+",
            "1.2.3-a..b",
            "1.2.3 ",
            "1.2.x",
            "+1.2.3",
            "-1.2.3",
            "1.2.3-ä",
            "1.2.99999999999999999999999",
        ] {
            assert!(!is_strict_version(bad), "{bad}");
        }
    }
}
