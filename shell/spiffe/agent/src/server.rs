//! The Workload API over HTTP/2 on a unix socket.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use slim_proto::grpc::put_prefix;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::wire::{
    JwtBundlesResponse, JwtSvid, JwtSvidRequest, JwtSvidResponse, X509BundlesResponse, X509Svid,
    X509SvidResponse,
};
use crate::{Asked, Refusal, Shared, State};

const INVALID_ARGUMENT: u32 = 3;
const PERMISSION_DENIED: u32 = 7;
const UNIMPLEMENTED: u32 = 12;

/// Serves until it is aborted; all connections end with it.
pub(crate) async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(serve_connection(socket, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(socket: UnixStream, shared: Arc<Shared>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    let mut calls = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        calls.spawn(serve_call(request, respond, Arc::clone(&shared)));
    }
}

async fn serve_call(request: Request<RecvStream>, respond: SendResponse<Bytes>, shared: Arc<Shared>) {
    let method = request
        .uri()
        .path()
        .strip_prefix("/SpiffeWorkloadAPI/")
        .map(str::to_owned);
    let has_header = request
        .headers()
        .get("workload.spiffe.io")
        .is_some_and(|value| value == "true");
    let body = read(request.into_body()).await.unwrap_or_default();
    let mut call = Call { respond };
    if !has_header {
        return call.refuse(&refusal(INVALID_ARGUMENT, "security header missing from request"));
    }
    let asked = asked(method.unwrap_or_default(), &body);
    shared.state().asked.push(asked.clone());
    if shared.state().silent {
        return std::future::pending().await;
    }
    let answer = |state: &State| answer(state, &asked);
    let is_stream = !matches!(asked.method.as_str(), "FetchJWTSVID" | "ValidateJWTSVID");
    let mut changed = shared.changed.subscribe();
    let first = answer(&shared.state());
    let message = match first {
        Err(refusal) => return call.refuse(&refusal),
        Ok(message) => message,
    };
    let Ok(mut stream) = call.respond.send_response(response(), false) else {
        return;
    };
    if stream.send_data(framed(&message), false).is_err() {
        return;
    }
    let mut end = refusal(0, "");
    while is_stream && changed.changed().await.is_ok() {
        let next = answer(&shared.state());
        match next {
            Ok(message) if stream.send_data(framed(&message), false).is_ok() => {}
            Ok(_) => return,
            Err(refusal) => {
                end = refusal;
                break;
            }
        }
    }
    let _ = stream.send_trailers(status(&end));
}

struct Call {
    respond: SendResponse<Bytes>,
}

impl Call {
    /// Headers that are also the end.
    fn refuse(&mut self, refusal: &Refusal) {
        let mut response = response();
        response.headers_mut().extend(status(refusal));
        let _ = self.respond.send_response(response, true);
    }
}

fn asked(method: String, body: &[u8]) -> Asked {
    let message = body.get(5..).unwrap_or_default();
    let request = match method.as_str() {
        "FetchJWTSVID" => JwtSvidRequest::decode(message).unwrap_or_default(),
        _ => JwtSvidRequest::default(),
    };
    Asked {
        method,
        audiences: request.audience,
        id: request.spiffe_id,
    }
}

fn answer(state: &State, asked: &Asked) -> Result<Vec<u8>, Refusal> {
    if let Some(refusal) = &state.refusal {
        return Err(refusal.clone());
    }
    let authority = state.authority();
    if state.ids.is_empty() && asked.method != "FetchJWTBundles" {
        return Err(refusal(PERMISSION_DENIED, "no identity issued"));
    }
    Ok(match asked.method.as_str() {
        "FetchX509SVID" => {
            let federated = state.federated.iter();
            let svid = |id: &String| {
                let issued = authority.certificate(id);
                X509Svid {
                    spiffe_id: id.clone(),
                    x509_svid: issued.chain,
                    x509_svid_key: issued.key,
                    bundle: issued.bundle,
                    hint: String::new(),
                }
            };
            let response = X509SvidResponse {
                svids: state.ids.iter().map(svid).collect(),
                crl: Vec::new(),
                federated_bundles: federated
                    .map(|other| (other.trust_domain.clone(), other.ca.clone()))
                    .collect(),
            };
            response.encode_to_vec()
        }
        "FetchX509Bundles" => {
            let own = authority.federated();
            let all = state.federated.iter().chain([&own]);
            let bundles = all.map(|domain| (domain.trust_domain.clone(), domain.ca.clone()));
            let response = X509BundlesResponse {
                crl: Vec::new(),
                bundles: bundles.collect(),
            };
            response.encode_to_vec()
        }
        "FetchJWTBundles" => {
            let own = authority.federated();
            let all = state.federated.iter().chain([&own]);
            let bundles = all.map(|domain| (domain.trust_domain.clone(), domain.jwks.clone().into_bytes()));
            let response = JwtBundlesResponse {
                bundles: bundles.collect(),
            };
            response.encode_to_vec()
        }
        "FetchJWTSVID" => {
            if asked.audiences.is_empty() {
                return Err(refusal(INVALID_ARGUMENT, "audience must be specified"));
            }
            let wanted = |id: &&String| asked.id.is_empty() || **id == asked.id;
            let svids: Vec<JwtSvid> = state
                .ids
                .iter()
                .filter(wanted)
                .map(|id| JwtSvid {
                    spiffe_id: id.clone(),
                    svid: authority.token(id, &asked.audiences, state.jwt_life),
                    hint: String::new(),
                })
                .collect();
            if svids.is_empty() {
                return Err(refusal(PERMISSION_DENIED, "no identity issued"));
            }
            JwtSvidResponse { svids }.encode_to_vec()
        }
        _ => return Err(refusal(UNIMPLEMENTED, "unknown method")),
    })
}

async fn read(mut body: RecvStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.ok()?;
        body.flow_control().release_capacity(chunk.len()).ok()?;
        bytes.extend_from_slice(&chunk);
    }
    Some(bytes)
}

fn refusal(code: u32, message: &str) -> Refusal {
    Refusal {
        code,
        message: message.to_owned(),
    }
}

fn response() -> Response<()> {
    let mut response = Response::new(());
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn status(refusal: &Refusal) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from(refusal.code));
    let message = refusal.message.replace('%', "%25").replace(' ', "%20");
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert("grpc-message", message);
    }
    headers
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    put_prefix(&mut bytes, message.len());
    bytes.put(message);
    bytes.freeze()
}
