//! One request at the accepting side: is it a call of ours, may its dialer open one, and the answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE as CONTENT_TYPE_HEADER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::auth::{Admission, Denial};
use crate::frames::{FrameReader, FrameWriter};
use crate::grpc::server::{ConnectionSettings, Peer};
use crate::grpc::status::{Code, Status};
use crate::grpc::stream::Role;
use crate::grpc::{CONTENT_TYPE, Service};
use crate::rope::Rope;

/// Why a request is no call of ours, or none now.
pub(super) fn objection(
    request: &Request<RecvStream>,
    settings: &ConnectionSettings,
    trusted: bool,
    draining: bool,
) -> Option<Response<()>> {
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE_HEADER)
        .is_some_and(|value| value.as_bytes().starts_with(CONTENT_TYPE.as_bytes()));
    let service = Service::of(request.uri().path());
    if request.method() != Method::POST {
        Some(plain(StatusCode::METHOD_NOT_ALLOWED))
    } else if service.is_none() {
        Some(if is_grpc {
            refused(&Status::new(Code::UNIMPLEMENTED, "no such method"))
        } else {
            plain(StatusCode::NOT_FOUND)
        })
    } else if !is_grpc {
        Some(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE))
    } else if service == Some(Service::PubSub) && !settings.serves_0_4 {
        // Its dialers pause between attempts and give up in the end (wire-routing B1).
        let text = "this listener does not serve applications of 0.4 (legacy: false)";
        Some(refused(&Status::new(Code::UNIMPLEMENTED, text)))
    } else if request
        .headers()
        .get("grpc-encoding")
        .is_some_and(|encoding| encoding != "identity")
    {
        Some(refused(&Status::new(
            Code::UNIMPLEMENTED,
            "compression is not supported",
        )))
    } else if draining {
        Some(stopping())
    } else if !trusted {
        let text = "the first link of this connection is not negotiated yet";
        Some(refused(&Status::new(Code::RESOURCE_EXHAUSTED, text)))
    } else {
        None
    }
}

/// A call whose dialer is being identified.
pub(super) struct Waiting {
    request: Request<RecvStream>,
    respond: SendResponse<Rope>,
    judging: Pin<Box<dyn Future<Output = Result<Option<Admission>, Denial>> + Send>>,
    verdict: Option<Result<Option<Admission>, Response<()>>>,
}

/// A call that was let in.
pub(super) struct Answered {
    pub(super) service: Service,
    pub(super) reader: FrameReader,
    pub(super) writer: FrameWriter,
    pub(super) admission: Option<Admission>,
}

impl Waiting {
    pub(super) fn new(
        mut request: Request<RecvStream>,
        respond: SendResponse<Rope>,
        settings: &ConnectionSettings,
        peer: &Peer,
    ) -> Self {
        let (authenticator, peer) = (settings.authenticator.clone(), peer.clone());
        let authorization = request.headers_mut().remove(AUTHORIZATION);
        Self {
            request,
            respond,
            judging: Box::pin(async move {
                match authenticator {
                    Some(authenticator) => authenticator.admit(&peer, authorization.as_ref()).await.map(Some),
                    None => Ok(None),
                }
            }),
            verdict: None,
        }
    }

    pub(super) fn is_judged(&mut self, cx: &mut Context<'_>, draining: bool) -> bool {
        if draining {
            self.verdict = Some(Err(stopping()));
        } else if let Poll::Ready(verdict) = self.judging.as_mut().poll(cx) {
            self.verdict = Some(verdict.map_err(denied));
        }
        self.verdict.is_some()
    }

    /// Answers a judged call; gives its parts if it is let in.
    pub(super) fn answer(mut self) -> Option<Answered> {
        let admission = match self.verdict? {
            Ok(admission) => admission,
            Err(refusal) => {
                // A stream that the peer has reset meanwhile needs no answer.
                let _ = self.respond.send_response(refusal, true);
                return None;
            }
        };
        // Sent at once: the dialer says nothing before it has seen them (wire-routing A1).
        let headers = Response::builder()
            .header(CONTENT_TYPE_HEADER, CONTENT_TYPE)
            .body(())
            .expect("a constant response");
        let service = Service::of(self.request.uri().path())?;
        let stream = self.respond.send_response(headers, false).ok()?;
        Some(Answered {
            service,
            reader: FrameReader::grpc(self.request.into_body()),
            writer: FrameWriter::grpc(stream, Role::Acceptor),
            admission,
        })
    }
}

/// Plain HTTP answers without body (wire-routing A12); gRPC where the dialer should try again.
fn denied(denial: Denial) -> Response<()> {
    match denial {
        Denial::Unauthenticated { basic } => {
            let mut response = plain(StatusCode::UNAUTHORIZED);
            if basic {
                let challenge = HeaderValue::from_static("Basic");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            response
        }
        Denial::Forbidden => plain(StatusCode::FORBIDDEN),
        Denial::Unavailable => refused(&Status::new(
            Code::UNAVAILABLE,
            "the keys of the token's issuer cannot be had",
        )),
    }
}

fn stopping() -> Response<()> {
    refused(&Status::new(Code::UNAVAILABLE, "the node is stopping"))
}

fn plain(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Headers that are also trailers.
fn refused(status: &Status) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    status.write(headers);
    response
}
