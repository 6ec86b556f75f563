//! Policies over verified claims: one expression in CEL, the Common Expression Language.
//!
//! The variables are `claims` (the claims of the token, a map), `sub` and `iss` (texts, empty if absent), `aud`
//! (always a list) and `method` (`"jwt"`, `"basic"` …). A policy says yes with `true`. Everything else is a no: also
//! a claim that is not there, so a policy that can do without one asks for it first: `has(claims.email) && …`.
//!
//! The functions are CEL's standard ones without clocks (validity was checked before) and without regular
//! expressions: `startsWith`, `endsWith` and `contains` do, in predictable time.

use std::fmt;

use cel::{Context, ExecutionError, Program, Value as CelValue};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use slim_proto::limits::{POLICY_BYTES_MAX, POLICY_STEPS_MAX};

use crate::cost::{CONCATENATIONS_MAX, Shape, Unknown};
use crate::identity::LinkIdentity;

/// Everything that an expression can look at.
const VARIABLES: [&str; 5] = ["claims", "sub", "iss", "aud", "method"];

/// A compiled policy.
pub struct ClaimPolicy {
    text: String,
    program: Program,
    shape: Shape,
}

/// Why a policy cannot be compiled, or did not come to an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More text than is read.
    #[error("a policy has at most {POLICY_BYTES_MAX} bytes, not {0}")]
    TooLong(usize),
    /// Another policy language.
    #[error(
        "policies are written in CEL; Rego is not supported: write one expression such as claims.role == \"admin\""
    )]
    Rego,
    /// Not CEL.
    #[error("not a CEL expression: {0}")]
    Syntax(String),
    /// No such variable.
    #[error("unknown variable {0:?} in a policy: there are claims, sub, iss, aud and method")]
    Variable(String),
    /// No such function.
    #[error(
        "unknown function {0:?} in a policy: texts have startsWith, endsWith, contains and size; lists have all, exists, exists_one, filter, map and size"
    )]
    Function(String),
    /// Macros inside macros inside macros.
    #[error("a policy nests all, exists, map and filter at most twice")]
    Nesting,
    /// Too many `+`.
    #[error("a policy has at most {CONCATENATIONS_MAX} additions")]
    Additions,
    /// The worst case for these claims is above the limit.
    #[error("the policy may take {steps} steps for these claims; the limit is {POLICY_STEPS_MAX}")]
    Cost {
        /// Steps in the worst case.
        steps: u64,
    },
    /// A claim (or key) is absent.
    #[error("there is no claim {0:?}")]
    Absent(String),
    /// An operator or function met a value of a kind that it is not for.
    #[error("the claims do not fit the policy: {0} is not for such values")]
    Kind(String),
    /// The answer is neither true nor false.
    #[error("a policy must be true or false, and this one is something else")]
    NoAnswer,
    /// Anything else: an index beyond its list, an overflow, a division by zero.
    #[error("the policy failed on these claims")]
    Failed,
}

impl ClaimPolicy {
    /// Compiles an expression. All that can be known without claims is checked here.
    pub fn compile(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong(text.len()));
        }
        if text.split_whitespace().next() == Some("package") {
            return Err(PolicyError::Rego);
        }
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.msg.clone());
            PolicyError::Syntax(first.unwrap_or_else(|| "empty".to_owned()))
        })?;
        let shape = Shape::of(program.expression(), &VARIABLES).map_err(|unknown| match unknown {
            Unknown::Variable(name) => PolicyError::Variable(name),
            Unknown::Function(name) => PolicyError::Function(name),
        })?;
        if shape.too_deep {
            return Err(PolicyError::Nesting);
        }
        if shape.concatenations > CONCATENATIONS_MAX {
            return Err(PolicyError::Additions);
        }
        Ok(Self {
            text: text.to_owned(),
            program,
            shape,
        })
    }

    /// The answer for the identity of a link: `sub` and `iss` are there whatever the method.
    pub fn evaluate_for(&self, identity: &LinkIdentity) -> Result<bool, PolicyError> {
        let claims = &identity.claims;
        let steps = self.shape.steps(values_in(claims));
        if steps > POLICY_STEPS_MAX {
            return Err(PolicyError::Cost { steps });
        }
        let aud = match claims.get("aud") {
            Some(Value::Array(list)) => list.clone(),
            Some(Value::String(one)) => vec![Value::String(one.clone())],
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
        };
        let empty = Value::Object(serde_json::Map::new());
        let claims = if claims.is_object() { claims } else { &empty };
        let mut context = Context::default();
        let variables = [
            ("claims", claims),
            ("sub", &Value::from(identity.subject.as_deref().unwrap_or(""))),
            ("iss", &Value::from(identity.issuer.as_deref().unwrap_or(""))),
            ("aud", &Value::Array(aud)),
            ("method", &Value::from(identity.method.name())),
        ];
        for (name, value) in variables {
            context
                .add_variable(name, Json(value))
                .map_err(|_| PolicyError::Failed)?;
        }
        match self.program.execute(&context) {
            Ok(CelValue::Bool(answer)) => Ok(answer),
            Ok(_) => Err(PolicyError::NoAnswer),
            Err(error) => Err(failure(error)),
        }
    }
}

/// The expression as it was written.
impl fmt::Display for ClaimPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ClaimPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClaimPolicy").field(&self.text).finish()
    }
}

/// Errors of the library carry values, and values are claims of somebody's token: only names are kept.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the other twenty say nothing that helps without the values in them"
)]
fn failure(error: ExecutionError) -> PolicyError {
    match error {
        ExecutionError::NoSuchKey(name) => PolicyError::Absent(name.to_string()),
        ExecutionError::NoSuchOverload(overload) => PolicyError::Kind(overload.function().to_owned()),
        _ => PolicyError::Failed,
    }
}

/// Values in a tree of claims, objects and lists included.
fn values_in(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        Value::Array(list) => 1 + list.iter().map(values_in).sum::<u64>(),
        Value::Object(map) => 1 + map.values().map(values_in).sum::<u64>(),
    }
}

/// Claims as CEL sees them: whole numbers are `int`, as in an expression, and not `uint`.
struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) => match number.as_i64() {
                Some(int) => serializer.serialize_i64(int),
                None => number.serialize(serializer),
            },
            Value::Array(list) => serializer.collect_seq(list.iter().map(Json)),
            Value::Object(map) => {
                let mut entries = serializer.serialize_map(Some(map.len()))?;
                for (key, value) in map {
                    entries.serialize_entry(key, &Json(value))?;
                }
                entries.end()
            }
            plain @ (Value::Null | Value::Bool(_) | Value::String(_)) => plain.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests;
