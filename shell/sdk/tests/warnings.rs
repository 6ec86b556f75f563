//! What is logged, and how often.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::{app, app_with_secret, group, name, within};
use slim::{ClientConfig, Error, Reliability, Service};

/// The log of the process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, text: &str) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone())
            .unwrap()
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }
}

#[tokio::test]
async fn weak_secrets_plain_text_and_refused_identities_are_said_once() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .init();
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    assert_eq!(log.count("fewer than 32 bytes"), 0);
    let mallory = app_with_secret(&service, "org/ns/mallory", "shared_secret").await;
    let _other = app_with_secret(&service, "org/ns/other", "shared_secret").await;
    assert_eq!(log.count("fewer than 32 bytes"), 1);

    // 192.0.2.0/24 is reserved for documentation: nobody answers, wherever this runs.
    let text = r#"{"endpoint": "192.0.2.1:9", "tls": {"insecure": true}, "connect_timeout": "10ms",
        "backoff": {"type": "fixed_interval", "interval": "1ms", "max_attempts": 1}}"#;
    for _ in 0..2 {
        let config = ClientConfig::from_json_text(text).unwrap().config;
        let error = within(service.connect(config)).await.unwrap_err();
        assert!(matches!(error, Error::Connect { attempts: 1, .. }), "{error}");
    }
    assert_eq!(log.count("plain-text link beyond this machine"), 1);

    let mut settings = group();
    settings.reliability = Some(Reliability {
        interval: Duration::from_millis(50),
        max_retries: 5,
    });
    let ours = within(alice.open(settings)).await.unwrap();
    within(ours.invite(name("org/ns/mallory"))).await.unwrap_err();
    assert!(within(mallory.counters()).await.unwrap().identity_refused > 1);
    assert_eq!(log.count("refused the identity of a peer"), 1, "rate limited");
}
