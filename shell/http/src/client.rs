//! One request: connect, ask, read the answer to its end, all within one deadline.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderValue, Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use slim_proto::limits::{
    HTTP_BODY_BYTES_MAX, HTTP_HEAD_BYTES_MAX, HTTP_REDIRECTS_MAX, HTTP_REQUEST_TIMEOUT,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::{HttpError, HttpSetupError, UrlProblem};
use crate::form::Form;
use crate::tls;
use crate::url::{HttpUrl, Scheme};

/// Whom to believe, and how much to allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// CAs as PEM text, one or more; they count beside the system's.
    pub ca: Option<String>,
    /// The system's CAs count.
    pub system_roots: bool,
    /// `http://` to other machines is allowed. What is fetched so, everybody on the way can replace.
    pub plain_text_anywhere: bool,
    /// No `https://` will be asked for, so nobody needs to be trusted.
    pub plain_text_only: bool,
    /// Deadline of a whole request, redirects included.
    pub timeout: Duration,
}

/// The system's CAs, plain text to this machine only, ten seconds.
impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca: None,
            system_roots: true,
            plain_text_anywhere: false,
            plain_text_only: false,
            timeout: HTTP_REQUEST_TIMEOUT,
        }
    }
}

/// Makes requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient {
    tls: Arc<ClientConfig>,
    plain_text_anywhere: bool,
    timeout: Duration,
}

/// The answer to a successful request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The body.
    pub body: Bytes,
    /// `max-age` of the `Cache-Control` header, in seconds.
    pub max_age_secs: Option<u64>,
}

impl HttpClient {
    /// Reads the CAs. The system's list comes from files, so call this where waiting for a disk is allowed.
    pub fn new(options: &HttpOptions) -> Result<Self, HttpSetupError> {
        Ok(Self {
            tls: tls::settings(options)?,
            plain_text_anywhere: options.plain_text_anywhere,
            timeout: options.timeout,
        })
    }

    /// The body behind an address. A status other than 200 to 299 is an error, and so is a redirect that leaves
    /// the origin.
    pub async fn fetch(&self, url: &HttpUrl) -> Result<Answer, HttpError> {
        let mut at = url.clone();
        let follow = async {
            for _ in 0..=HTTP_REDIRECTS_MAX {
                let request = Request::get(at.path_and_query()).body(String::new());
                let response = self.exchange(&at, checked(request, &at)?).await?;
                let Some(to) = redirection(&response) else {
                    return finish(&at, response);
                };
                let next = at.join(&to)?;
                if next.origin() != at.origin() {
                    return Err(refused(&at, &next));
                }
                at = next;
            }
            Err(refused(url, &at))
        };
        self.in_time(url, follow).await
    }

    /// Sends a form and gives the body of the answer. `authorization` is the value of the header of that name.
    /// Redirects are errors: a form may hold secrets that are for this address alone.
    pub async fn post_form(
        &self,
        url: &HttpUrl,
        form: Form,
        authorization: Option<&str>,
    ) -> Result<Answer, HttpError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url.path_and_query())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization.and_then(|value| HeaderValue::from_str(value).ok()) {
            let mut authorization = authorization;
            authorization.set_sensitive(true);
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = checked(request.body(form.into_body()), url)?;
        let post = async {
            let response = self.exchange(url, request).await?;
            if let Some(to) = redirection(&response) {
                return Err(HttpError::Redirect {
                    url: url.to_string(),
                    to: url.join(&to).map_or(to, |to| to.to_string()),
                });
            }
            finish(url, response)
        };
        self.in_time(url, post).await
    }

    async fn in_time<T>(
        &self,
        url: &HttpUrl,
        request: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<T, HttpError> {
        // Boxed: the state of a handshake has kilobytes, and callers hold this future inside theirs.
        timeout(self.timeout, Box::pin(request))
            .await
            .unwrap_or_else(|_| {
                Err(HttpError::Timeout {
                    origin: url.origin(),
                    limit: self.timeout,
                })
            })
    }

    async fn exchange(&self, url: &HttpUrl, request: Request<String>) -> Result<Response<Bytes>, HttpError> {
        let plain = url.scheme() == Scheme::Http;
        if plain && !self.plain_text_anywhere && !url.is_loopback() {
            return Err(HttpError::PlainText { origin: url.origin() });
        }
        let unreachable = |error| HttpError::Unreachable {
            origin: url.origin(),
            error,
        };
        let socket = TcpStream::connect((url.host(), url.port()))
            .await
            .map_err(unreachable)?;
        if plain {
            return talk(url, socket, request).await;
        }
        let failed = |error| HttpError::Tls {
            origin: url.origin(),
            error,
        };
        let name = ServerName::try_from(url.host().to_owned())
            .map_err(|error| failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        let secured = connector.connect(name, socket).await.map_err(failed)?;
        talk(url, secured, request).await
    }
}

/// One request and its whole answer over a connection that is made for it.
async fn talk<Io>(url: &HttpUrl, io: Io, request: Request<String>) -> Result<Response<Bytes>, HttpError>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error| HttpError::Broken {
        origin: url.origin(),
        error,
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(io))
        .await
        .map_err(broken)?;
    // Dropped with this future, and the connection with it.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let (head, mut body) = response.into_parts();
    let body = read(&mut body, url).await?;
    Ok(Response::from_parts(head, body))
}

async fn read(body: &mut Incoming, url: &HttpUrl) -> Result<Bytes, HttpError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let frame = frame.map_err(|error| HttpError::Broken {
            origin: url.origin(),
            error,
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len().saturating_add(data.len()) > HTTP_BODY_BYTES_MAX {
            return Err(HttpError::TooLarge { url: url.to_string() });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// With the headers that every request has.
fn checked(
    request: Result<Request<String>, http::Error>,
    url: &HttpUrl,
) -> Result<Request<String>, HttpError> {
    let malformed = || HttpError::Url {
        text: url.to_string(),
        problem: UrlProblem::Syntax,
    };
    let mut request = request.map_err(|_| malformed())?;
    let host = HeaderValue::from_str(&url.authority()).map_err(|_| malformed())?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

fn redirection(response: &Response<Bytes>) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    location.to_str().ok().map(str::to_owned)
}

fn refused(url: &HttpUrl, to: &HttpUrl) -> HttpError {
    HttpError::Redirect {
        url: url.to_string(),
        to: to.to_string(),
    }
}

fn finish(url: &HttpUrl, response: Response<Bytes>) -> Result<Answer, HttpError> {
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        return Err(HttpError::Status {
            url: url.to_string(),
            status: head.status.as_u16(),
            body,
        });
    }
    let max_age_secs = head
        .headers
        .get(http::header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .and_then(max_age);
    Ok(Answer { body, max_age_secs })
}

fn max_age(cache_control: &str) -> Option<u64> {
    cache_control
        .split(',')
        .filter_map(|directive| directive.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("max-age"))
        .and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok())
}
