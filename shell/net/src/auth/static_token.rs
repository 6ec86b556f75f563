//! A token from a file that somebody else keeps fresh.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use slim_config::{JwtSource, StaticJwtAuth};
use slim_proto::Instant;
use zeroize::Zeroizing;

use super::files::{self, FileError};
use crate::clock::Clock;

/// The file is read at each dial. While it cannot be read, for example because it is just being replaced, the token
/// of last time is used for as long as the configuration says.
pub(super) struct StaticToken {
    source: JwtSource,
    lifetime: Duration,
    clock: Clock,
    last: Mutex<Option<(Zeroizing<String>, Instant)>>,
}

impl StaticToken {
    pub(super) fn new(config: &StaticJwtAuth, clock: Clock) -> Self {
        Self {
            source: config.token.clone(),
            lifetime: config.duration,
            clock,
            last: Mutex::default(),
        }
    }

    pub(super) async fn token(&self) -> Result<Zeroizing<String>, FileError> {
        let path = match &self.source {
            JwtSource::Data(text) => return Ok(Zeroizing::new(text.expose().trim().to_owned())),
            JwtSource::File(path) => path,
        };
        let read = files::read(path).await;
        let now = self.clock.monotonic();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok((text, _)) => {
                let token = Zeroizing::new(text.trim().to_owned());
                *last = Some((token.clone(), now));
                Ok(token)
            }
            Err(error) => match &*last {
                Some((token, at)) if now.saturating_since(*at) < self.lifetime => {
                    tracing::warn!(%error, "using the token that was read before");
                    Ok(token.clone())
                }
                _ => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_file_is_read_each_time_and_the_last_token_bridges_a_gap() {
        let path = std::env::temp_dir().join(format!("slim-static-token-{}", std::process::id()));
        let config = StaticJwtAuth {
            token: JwtSource::File(path.clone()),
            duration: Duration::from_secs(60),
        };
        let token = StaticToken::new(&config, Clock::start());
        assert!(token.token().await.is_err());
        std::fs::write(&path, "first\n").unwrap();
        assert_eq!(&**token.token().await.unwrap(), "first");
        std::fs::write(&path, "second").unwrap();
        assert_eq!(&**token.token().await.unwrap(), "second");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&**token.token().await.unwrap(), "second");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(token.token().await.is_err());
    }
}
