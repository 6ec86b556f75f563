//! A listener that demands credentials and hands every call to the test, and a provider of tokens.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, of which each program uses a part"
)]

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use slim_config::{ClientConfig, ServerConfig};
use slim_net::listen::ConnectionLimits;
use slim_net::{
    Accepted, Authenticator, ConnectionEnd, ConnectionSettings, DialError, Listener, dial, serve_connection,
};
use slim_policy::LinkIdentity;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::common::within;
use crate::tokens::{Web, discovery};

/// A provider at a web server of its own.
pub async fn provider(keys: String) -> (Web, String) {
    let web = Web::start(|_| (500, String::new())).await;
    web.answer_with(keys_at(web.address, keys));
    let url = web.url();
    (web, url)
}

pub fn keys_at(address: SocketAddr, keys: String) -> impl FnMut(&str) -> (u16, String) + Send + 'static {
    move |request| match request.split(' ').nth(1) {
        Some("/keys") => (200, keys.clone()),
        Some("/.well-known/openid-configuration") => (200, discovery(&format!("http://{address}"))),
        _ => (404, String::new()),
    }
}

pub fn give_out(web: &Web, keys: String, grant: Value) {
    let mut others = keys_at(web.address, keys);
    web.answer_with(move |request| match request.starts_with("POST /token") {
        true => (200, grant.to_string()),
        false => others(request),
    });
}

pub fn static_jwt(token: &str) -> Value {
    json!({"type": "static_jwt", "token": token})
}

/// An acceptor that hands every call to the test. It counts as open until the test drops its second half.
pub struct Server {
    pub address: SocketAddr,
    pub calls: mpsc::UnboundedReceiver<(Accepted, oneshot::Sender<()>)>,
    ends: mpsc::UnboundedReceiver<ConnectionEnd>,
}

impl Server {
    pub async fn start(auth: &Value) -> Self {
        Self::start_with(auth, &json!({})).await
    }

    pub async fn start_with(auth: &Value, keepalive: &Value) -> Self {
        let mut text = json!({"endpoint": "127.0.0.1:0", "tls": {"insecure": true}, "keepalive": keepalive});
        if !auth.is_null() {
            text["auth"] = auth.clone();
        }
        let config = ServerConfig::from_json_text(&text.to_string()).unwrap().config;
        let settings = ConnectionSettings {
            authenticator: Authenticator::load(&config).await.unwrap().map(Arc::new),
            ..ConnectionSettings::from(&config)
        };
        let listener = Listener::bind(&config.endpoint, ConnectionLimits::default())
            .await
            .unwrap();
        let address = listener.local_address().unwrap();
        let (call, calls) = mpsc::unbounded_channel();
        let (ended, ends) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let accepted = listener.accept().await;
                let (call, ended, settings) = (call.clone(), ended.clone(), settings.clone());
                tokio::spawn(async move {
                    let forever = std::future::pending();
                    let end =
                        serve_connection(accepted.socket, accepted.peer, &settings, forever, |accepted| {
                            let (open, closed) = oneshot::channel();
                            let _ = call.send((accepted, open));
                            async move { drop(closed.await) }
                        });
                    let _ = ended.send(end.await);
                });
            }
        });
        Self { address, calls, ends }
    }

    pub fn client(&self, auth: &Value) -> ClientConfig {
        let mut text = json!({"endpoint": self.address.to_string(), "tls": {"insecure": true}});
        if !auth.is_null() {
            text["auth"] = auth.clone();
        }
        ClientConfig::from_json_text(&text.to_string()).unwrap().config
    }

    pub async fn dial(&self, auth: &Value) -> Result<slim_net::Dialed, DialError> {
        dial(&self.client(auth)).await
    }

    pub async fn next_call(&mut self) -> (Accepted, oneshot::Sender<()>) {
        within(self.calls.recv()).await.unwrap()
    }

    pub async fn next_end(&mut self) -> ConnectionEnd {
        within(self.ends.recv()).await.unwrap()
    }

    /// Who opened the next call.
    pub async fn identity(&mut self) -> Arc<LinkIdentity> {
        self.next_call().await.0.admission.unwrap().identity
    }

    /// A call by a bare HTTP/2 client.
    pub async fn bare_call(&self, path: &str, authorization: Option<&str>) -> http::Response<h2::RecvStream> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let (send, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let mut send: h2::client::SendRequest<Bytes> = send.ready().await.unwrap();
        let (response, _stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        let mut response = Box::pin(response);
        within(poll_fn(|cx| response.as_mut().poll(cx))).await.unwrap()
    }
}
