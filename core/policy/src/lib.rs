//! Who may use which name: from the verified identity of a link to what the link may do.
//!
//! The shell that verified a password, a token or a certificate makes a [`LinkIdentity`] of it. [`Rules`] (the
//! `authorization` block of a configuration, compiled once) turn it into [`Permissions`], which the router checks
//! frame by frame:
//!
//! ```
//! use slim_policy::{AuthMethod, LinkIdentity, RuleSource, Rules};
//!
//! let rule = RuleSource {
//!     methods: vec![AuthMethod::Jwt],
//!     subscribe: vec!["agntcy/demo/{subject}".into()],
//!     publish: vec!["agntcy/demo/**".into()],
//!     ..RuleSource::default()
//! };
//! let rules = Rules::compile(false, &[rule])?;
//! let permissions = rules.permissions(&LinkIdentity {
//!     method: AuthMethod::Jwt,
//!     subject: Some("bob".into()),
//!     ..LinkIdentity::default()
//! });
//! let name: slim_proto::FullName = "agntcy/demo/alice".parse()?;
//! assert!(permissions.may_publish(&name.view()).is_ok());
//! assert_eq!(
//!     permissions.may_subscribe(&name.view()).unwrap_err().to_string(),
//!     "\"bob\" may not subscribe to \"agntcy/demo/alice\"",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`ClaimPolicy`] is the other half: one CEL expression that a token's claims must fulfil. Nothing here reads a
//! clock or verifies anything: who a link is was decided before.

mod claim_policy;
mod cost;
mod identity;
mod pattern;
mod permissions;
mod rules;

pub use claim_policy::{ClaimPolicy, PolicyError};
pub use identity::{AuthMethod, LinkIdentity, Principal};
pub use pattern::{NamePattern, PatternError};
pub use permissions::{Action, Denied, Permissions};
pub use rules::{RuleError, RuleSource, Rules, RulesError};
