//! What the evaluation of a CEL expression can cost at most, and what it refers to.
//!
//! CEL always ends, but not always soon: its macros run once for each element of a list, one inside another. So the
//! worst case is computed beforehand from the expression's shape and the size of what it looks at.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use slim_proto::limits::POLICY_BYTES_MAX;

/// Functions that exist (the standard ones without clocks and regular expressions), beside operators.
const FUNCTIONS: [&str; 12] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "dyn",
    "type",
];

/// Concatenations that one expression may have: each may double a text.
pub(crate) const CONCATENATIONS_MAX: u32 = 4;

/// The shape of an expression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Nodes by how many macros they are inside of; deeper ones count as too deep.
    nodes: [u64; Self::DEPTHS],
    pub(crate) concatenations: u32,
    pub(crate) too_deep: bool,
}

/// What an expression refers to that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Variable(String),
    Function(String),
}

impl Shape {
    /// No macro, one, or one inside another.
    const DEPTHS: usize = 3;

    /// Measures an expression over these variables.
    pub(crate) fn of(expression: &IdedExpr, variables: &[&str]) -> Result<Self, Unknown> {
        let mut shape = Self::default();
        let mut scope: Vec<&str> = variables.to_vec();
        shape.visit(expression, &mut scope, 0)?;
        Ok(shape)
    }

    /// Steps in the worst case, for variables of this many values and text bytes in all.
    pub(crate) fn steps(&self, size: u64) -> u64 {
        // Lists may also stand in the expression itself, and texts grow by concatenation.
        let longest = size.max(POLICY_BYTES_MAX as u64 / 64) << self.concatenations;
        let rounds = [1, longest, longest.saturating_mul(longest)];
        let steps = self
            .nodes
            .iter()
            .zip(rounds)
            .map(|(nodes, rounds)| nodes.saturating_mul(rounds));
        steps.fold(0, u64::saturating_add)
    }

    fn visit<'e>(
        &mut self,
        node: &'e IdedExpr,
        scope: &mut Vec<&'e str>,
        depth: usize,
    ) -> Result<(), Unknown> {
        match self.nodes.get_mut(depth) {
            Some(count) => *count += 1,
            None => self.too_deep = true,
        }
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => match scope.contains(&name.as_str()) || is_internal(name) || is_type(name) {
                true => Ok(()),
                false => Err(Unknown::Variable(name.clone())),
            },
            Expr::Select(select) => self.visit(&select.operand, scope, depth),
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|item| self.visit(item, scope, depth)),
            Expr::Map(map) => map
                .entries
                .iter()
                .try_for_each(|entry| self.entry(&entry.expr, scope, depth)),
            // There are no message types here, so their literals have no meaning.
            Expr::Struct(message) => Err(Unknown::Function(message.type_name.clone())),
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let is_operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
                if !is_operator && !FUNCTIONS.contains(&name) {
                    return Err(Unknown::Function(name.to_owned()));
                }
                // Macros append to their own result; that is no concatenation of texts.
                let appends = matches!(call.args.first().map(|arg| &arg.expr), Some(Expr::Ident(name)) if is_internal(name));
                if name == cel::common::ast::operators::ADD && !appends {
                    self.concatenations = self.concatenations.saturating_add(1);
                }
                let parts = call.target.as_deref().into_iter().chain(&call.args);
                parts
                    .into_iter()
                    .try_for_each(|part| self.visit(part, scope, depth))
            }
            Expr::Comprehension(macro_call) => {
                self.visit(&macro_call.iter_range, scope, depth)?;
                self.visit(&macro_call.accu_init, scope, depth)?;
                let outer = scope.len();
                scope.push(&macro_call.iter_var);
                scope.extend(macro_call.iter_var2.as_deref());
                scope.push(&macro_call.accu_var);
                self.visit(&macro_call.loop_cond, scope, depth + 1)?;
                self.visit(&macro_call.loop_step, scope, depth + 1)?;
                self.visit(&macro_call.result, scope, depth)?;
                scope.truncate(outer);
                Ok(())
            }
        }
    }

    fn entry<'e>(
        &mut self,
        entry: &'e EntryExpr,
        scope: &mut Vec<&'e str>,
        depth: usize,
    ) -> Result<(), Unknown> {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, scope, depth)?;
                self.visit(&entry.value, scope, depth)
            }
            EntryExpr::StructField(field) => self.visit(&field.value, scope, depth),
        }
    }
}

/// Variables that macros make for themselves; no source text can name them.
fn is_internal(name: &str) -> bool {
    name.starts_with('@')
}

/// Names of types, for comparisons with `type(…)`.
fn is_type(name: &str) -> bool {
    [
        "bool",
        "bytes",
        "double",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "type",
        "uint",
    ]
    .contains(&name)
}
