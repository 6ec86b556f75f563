//! What this binary is.

/// Four facts, one a line.
pub(crate) fn text() -> String {
    format!(
        "slim {}\nbuild date: {}\ngit revision: {}\nprofile: {}",
        env!("CARGO_PKG_VERSION"),
        env!("SLIM_BUILD_DATE"),
        env!("SLIM_GIT_REVISION"),
        env!("SLIM_PROFILE"),
    )
}
