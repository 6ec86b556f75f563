//! The `proxy` key of a client: through whom the node is reached.

use std::collections::BTreeMap;

use crate::auth::BasicAuth;
use crate::endpoint::Endpoint;
use crate::secret::SecretText;
use crate::tls::ClientTls;

/// Through whom the node is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Whom the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    #[default]
    Environment,
    /// Nobody, whatever the environment says (`proxy: direct`).
    Direct,
    /// This one, also for endpoints that `NO_PROXY` or loopback would exempt.
    Through(Box<ProxyConfig>),
}

/// An HTTP proxy that is asked with CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Sent as `Proxy-Authorization`.
    pub credentials: Option<BasicAuth>,
    /// Further headers of the CONNECT request, by lower-case name.
    pub headers: BTreeMap<String, SecretText>,
    /// How the way to the proxy itself is protected; absent means plain text (`http://`).
    pub tls: Option<ClientTls>,
}
