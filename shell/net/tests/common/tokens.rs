//! Token issuers of tests: keys, tokens that say whatever a test wants, and a web server that publishes and gives
//! out what one wants.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, of which each program uses a part"
)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Somebody who signs tokens with a key of a certain name.
pub struct Issuer {
    key: TokenSigningKey,
    key_id: &'static str,
}

impl Issuer {
    pub fn new(key_id: &'static str) -> Self {
        let key = TokenSigningKey::generate(Algorithm::Es256).unwrap();
        Self { key, key_id }
    }

    fn jwk(&self) -> Value {
        let public = self.key.verification_key();
        let bytes = public.public_bytes().unwrap();
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&bytes[1..33]),
            URL_SAFE_NO_PAD.encode(&bytes[33..]),
        );
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.key_id, "x": x, "y": y})
    }

    pub fn token(&self, claims: &Value) -> String {
        self.token_with_header(&json!({"alg": "ES256", "kid": self.key_id, "typ": "JWT"}), claims)
    }

    /// Correctly signed, whatever the header says.
    pub fn token_with_header(&self, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// The keys of some issuers as a key set.
pub fn jwks(issuers: &[&Issuer]) -> String {
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// Claims of a token for a listener of the audience `slim`, good for ten minutes.
pub fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": "slim", "sub": "alice", "iat": now(), "exp": now() + 600})
}

/// The same claims with one changed, or taken away by `null`.
pub fn with(mut claims: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

type Answer = Box<dyn FnMut(&str) -> (u16, String) + Send>;

/// A web server on this machine. Its answers follow from the request, head and body; every request is kept.
#[derive(Clone)]
pub struct Web {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Answer>>,
}

impl Web {
    pub async fn start(answer: impl FnMut(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            answer: Arc::new(Mutex::new(Box::new(answer))),
        };
        let serving = web.clone();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                tokio::spawn(async move {
                    let request = read(&mut socket).await;
                    let (status, body) = serving.answer.lock().unwrap()(&request);
                    serving.requests.lock().unwrap().push(request);
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                    let _ = socket.write_all((head + &body).as_bytes()).await;
                });
            }
        });
        web
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub fn answer_with(&self, answer: impl FnMut(&str) -> (u16, String) + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// All requests so far whose first line contains this.
    pub fn requests(&self, line: &str) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let first = |request: &&String| request.lines().next().is_some_and(|first| first.contains(line));
        requests.iter().filter(first).cloned().collect()
    }
}

/// What an OpenID Connect provider at this address says of itself.
pub fn discovery(url: &str) -> String {
    json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "token_endpoint": format!("{url}/token")})
        .to_string()
}

async fn read(socket: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}
