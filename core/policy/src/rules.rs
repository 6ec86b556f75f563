//! The rules of a node: which identities may do what.

use std::collections::BTreeMap;

use serde_json::Value;
use slim_proto::limits::{RULE_PATTERNS_MAX, RULES_MAX};
use tracing::debug;

use crate::claim_policy::{ClaimPolicy, PolicyError};
use crate::identity::{AuthMethod, LinkIdentity};
use crate::pattern::{NamePattern, PatternError};
use crate::permissions::{Action, PatternSet, Permissions};

/// One rule as it is written. Everything written about the identity must hold; nothing written matches every link,
/// one without identity included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSource {
    /// How the identity was proven: one of these.
    pub methods: Vec<AuthMethod>,
    /// The subject: one of these, where `*` stands for any run of characters.
    pub subjects: Vec<String>,
    /// The issuer, exactly: one of these.
    pub issuers: Vec<String>,
    /// Claims that must be there: equal to the value, or, where the token has a list, containing it.
    pub claims: BTreeMap<String, Value>,
    /// A CEL expression ([`ClaimPolicy`]).
    pub cel: Option<String>,
    /// Patterns ([`NamePattern`]) of names to receive for, and to speak as.
    pub subscribe: Vec<String>,
    /// Names to send to.
    pub publish: Vec<String>,
    /// Names to open sessions with and to add to groups; who may invite a name may also send to it. Absent means the
    /// same as `publish`, an empty list means none.
    pub invite: Option<Vec<String>>,
}

/// Compiled rules. All that match a link count, whatever their order.
#[derive(Debug, Default)]
pub struct Rules {
    allow_unmatched: bool,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    source: RuleSource,
    policy: Option<ClaimPolicy>,
    subscribe: Vec<NamePattern>,
    publish: Vec<NamePattern>,
    invite: Option<Vec<NamePattern>>,
}

/// Why a list of rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// More rules than a node takes.
    #[error("{0} rules; a node takes {RULES_MAX}")]
    TooMany(usize),
    /// More patterns in all rules together than a node takes.
    #[error("{0} name patterns in all rules; a node takes {RULE_PATTERNS_MAX}")]
    TooManyPatterns(usize),
    /// One rule is wrong.
    #[error("rule {}: {error}", index + 1)]
    Rule {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        error: RuleError,
    },
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A pattern of one of its lists.
    #[error("{}: {error}", action.name())]
    Pattern {
        /// The list.
        action: Action,
        /// Why.
        error: PatternError,
    },
    /// Its CEL expression.
    #[error("cel: {0}")]
    Policy(#[from] PolicyError),
}

impl Rules {
    /// Compiles rules. `allow_unmatched` is for links that no rule matches: nothing (false) or everything.
    pub fn compile(allow_unmatched: bool, sources: &[RuleSource]) -> Result<Self, RulesError> {
        if sources.len() > RULES_MAX {
            return Err(RulesError::TooMany(sources.len()));
        }
        let patterns = sources.iter().map(RuleSource::pattern_count).sum();
        if patterns > RULE_PATTERNS_MAX {
            return Err(RulesError::TooManyPatterns(patterns));
        }
        let compile =
            |(index, source)| Rule::compile(source).map_err(|error| RulesError::Rule { index, error });
        Ok(Self {
            allow_unmatched,
            rules: sources
                .iter()
                .enumerate()
                .map(compile)
                .collect::<Result<_, _>>()?,
        })
    }

    /// What a link with this identity may do: the sum of all rules that match it.
    pub fn permissions(&self, identity: &LinkIdentity) -> Permissions {
        let (mut subscribe, mut publish, mut invite) = (Vec::new(), Vec::new(), Vec::new());
        let mut matched = false;
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.matches(index, identity) {
                continue;
            }
            matched = true;
            let fill = |patterns: &[NamePattern], filled: &mut Vec<_>| {
                filled.extend(patterns.iter().filter_map(|pattern| pattern.fill(identity)));
            };
            fill(&rule.subscribe, &mut subscribe);
            fill(&rule.publish, &mut publish);
            fill(rule.invite.as_ref().unwrap_or(&rule.publish), &mut invite);
        }
        if !matched && self.allow_unmatched {
            return Permissions::everything();
        }
        Permissions::of(
            identity.principal(),
            PatternSet::new(subscribe),
            PatternSet::new(publish),
            PatternSet::new(invite),
        )
    }
}

impl RuleSource {
    fn pattern_count(&self) -> usize {
        self.subscribe.len() + self.publish.len() + self.invite.as_ref().map_or(0, Vec::len)
    }

    /// Everything but the CEL expression.
    fn matches(&self, identity: &LinkIdentity) -> bool {
        let subject = identity.subject.as_deref();
        let issuer = identity.issuer.as_deref();
        let by_method = self.methods.is_empty() || self.methods.contains(&identity.method);
        let by_subject = self.subjects.is_empty()
            || subject.is_some_and(|subject| self.subjects.iter().any(|glob| glob_matches(glob, subject)));
        let by_issuer = self.issuers.is_empty()
            || issuer.is_some_and(|issuer| self.issuers.iter().any(|known| known == issuer));
        let by_claims = self.claims.iter().all(|(path, wanted)| {
            identity.claim(path).is_some_and(|value| {
                value == wanted || value.as_array().is_some_and(|list| list.contains(wanted))
            })
        });
        by_method && by_subject && by_issuer && by_claims
    }
}

impl Rule {
    fn compile(source: &RuleSource) -> Result<Self, RuleError> {
        let parse = |action, list: &[String]| {
            let parse = |text: &String| text.parse().map_err(|error| RuleError::Pattern { action, error });
            list.iter().map(parse).collect::<Result<Vec<_>, _>>()
        };
        let invite = source.invite.as_ref().map(|list| parse(Action::Invite, list));
        Ok(Self {
            policy: source.cel.as_deref().map(ClaimPolicy::compile).transpose()?,
            subscribe: parse(Action::Subscribe, &source.subscribe)?,
            publish: parse(Action::Publish, &source.publish)?,
            invite: invite.transpose()?,
            source: source.clone(),
        })
    }

    fn matches(&self, index: usize, identity: &LinkIdentity) -> bool {
        if !self.source.matches(identity) {
            return false;
        }
        let Some(policy) = &self.policy else {
            return true;
        };
        policy.evaluate_for(identity).unwrap_or_else(|error| {
            // A claim that is not there is the usual case; it must not be worth more than a claim that says no.
            debug!(rule = index + 1, %error, "rule does not apply");
            false
        })
    }
}

/// `*` stands for any run of characters, also for none; everything else for itself.
fn glob_matches(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    // The earliest place for each piece leaves the most for those after it.
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
