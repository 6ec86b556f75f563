//! From the `authorization` block to rules, and what links are refused by them.
//!
//! What a rule means is decided by `slim-policy`, and kept to by the router. A service whose listeners check who
//! dials has rules, or says that everybody may use every name: it does not start without either, because a
//! password that opens every name is rarely what is meant.

use std::fmt::Display;

use slim_config::{AuthorizationConfig, DefaultAccess, ServerConfig, ServiceConfig};
use slim_net::SparseLog;
use slim_policy::{Denied, Rules, RulesError};
use slim_proto::Instant;
use tracing::warn;

/// Compiles what is configured.
pub(crate) fn rules(config: &AuthorizationConfig) -> Result<Rules, RulesError> {
    Rules::compile(config.default == DefaultAccess::Allow, &config.rules)
}

/// The first listener that checks who dials, in a service that does not say who may use which name.
pub(crate) fn listener_without_rules(config: &ServiceConfig) -> Option<&ServerConfig> {
    if config.authorization.is_some() {
        return None;
    }
    config.servers.iter().find(|server| checks_identity(server))
}

/// True if the listener wants a credential or a certificate.
fn checks_identity(server: &ServerConfig) -> bool {
    server.auth.is_some() || server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
}

/// Log lines about what links were refused. Any link can cause thousands a second, so most are only counted.
#[derive(Debug, Default)]
pub(crate) struct DeniedLog(SparseLog);

impl DeniedLog {
    pub(crate) fn log(&mut self, now: Instant, link: impl Display, denied: &Denied) {
        if let Some(not_logged) = self.0.is_due(now) {
            warn!(%link, %denied, not_logged, "refused by the authorization rules");
        }
    }
}

#[cfg(test)]
mod tests {
    use slim_policy::{AuthMethod, LinkIdentity, RuleSource};
    use slim_proto::FullName;

    use super::*;

    #[test]
    fn a_configured_rule_allows_what_it_says_to_whom_it_says() {
        let config = AuthorizationConfig {
            default: DefaultAccess::Deny,
            rules: vec![RuleSource {
                methods: vec![AuthMethod::Basic],
                subscribe: vec!["org/ns/{subject}".to_owned()],
                publish: vec!["org/ns/*".to_owned()],
                invite: Some(Vec::new()),
                ..RuleSource::default()
            }],
        };
        let rules = rules(&config).unwrap();
        let alice = LinkIdentity {
            subject: Some("alice".to_owned()),
            method: AuthMethod::Basic,
            ..LinkIdentity::default()
        };
        let (own, other): (FullName, FullName) =
            ("org/ns/alice".parse().unwrap(), "org/ns/bob".parse().unwrap());
        let permissions = rules.permissions(&alice);
        assert!(permissions.may_subscribe(&own.view()).is_ok());
        assert!(permissions.may_subscribe(&other.view()).is_err());
        assert!(permissions.may_publish(&other.view()).is_ok());
        assert!(permissions.may_invite(&other.view()).is_err());
        let nobody = rules.permissions(&LinkIdentity::default());
        assert!(nobody.may_publish(&other.view()).is_err());
        let open = AuthorizationConfig {
            default: DefaultAccess::Allow,
            rules: Vec::new(),
        };
        let open = super::rules(&open).unwrap();
        assert!(open.permissions(&LinkIdentity::default()).allow_everything());
    }
}
