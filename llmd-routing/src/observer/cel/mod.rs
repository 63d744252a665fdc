//! A small part of CEL, the Common Expression Language: numbers and conditions over what a request took.
//!
//! Language: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>. What is here is what an expression over `usage` that
//! comes to a number needs: whole numbers, doubles, `true` and `false`; `+ - * / %`, comparisons, `&& || !`, `c ? a : b`,
//! `has(usage.x)`, `int()`, `double()` and comments. Text, lists, maps and what is done with them are not.
//!
//! Three things are decided here that the specification leaves open or decides otherwise:
//! - Every expression has a kind that is known before it runs, and one whose kinds do not fit is refused when it is read.
//! - Fields of `usage` are doubles, as in llm-d, which has them from JSON.
//! - Where a whole number meets a double, it becomes one; CEL has no such operator, and llm-d's expressions fail there when
//!   they run.

mod eval;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::fmt;

use llmd_core::{Error, ErrorKind, Result};

use crate::Usage;

/// What an expression comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A number with a fraction.
    Double,
    /// A whole number of 64 bits.
    Int,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "a condition",
            Self::Double => "a number",
            Self::Int => "a whole number",
        })
    }
}

/// An expression that was read, and whose kinds fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    node: Node,
    kind: Kind,
}

/// What stands at one place of an expression.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Bool(bool),
    Double(f64),
    Int(i64),
    Field(Field),
    Has(Field),
    Not(Box<Self>),
    Negate(Box<Self>),
    ToDouble(Box<Self>),
    ToInt(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Arithmetic(Operator, Box<Self>, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    Choose(Box<Self>, Box<Self>, Box<Self>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// A field of `usage`, as OpenAI's API names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    CachedTokens,
    CompletionTokens,
    PromptTokens,
    /// The object that the cached tokens stand in.
    PromptTokensDetails,
    TotalTokens,
}

impl Field {
    const PATHS: [(&str, Self); 5] = [
        ("completion_tokens", Self::CompletionTokens),
        ("prompt_tokens", Self::PromptTokens),
        ("prompt_tokens_details", Self::PromptTokensDetails),
        ("prompt_tokens_details.cached_tokens", Self::CachedTokens),
        ("total_tokens", Self::TotalTokens),
    ];

    const fn of(self, usage: &Usage) -> Option<u64> {
        match self {
            Self::CachedTokens | Self::PromptTokensDetails => usage.cached_tokens,
            Self::CompletionTokens => usage.completion_tokens,
            Self::PromptTokens => usage.prompt_tokens,
            Self::TotalTokens => match (usage.prompt_tokens, usage.completion_tokens) {
                (Some(prompt), Some(completion)) => Some(prompt.saturating_add(completion)),
                _ => None,
            },
        }
    }
}

/// What came of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Bool(bool),
    Double(f64),
    Int(i64),
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no expression or whose kinds do not fit, with the line and the column in it, and
    /// [`ErrorKind::Unsupported`] for what CEL has and is not here.
    pub fn parse(text: &str) -> Result<Self> {
        let (node, kind) = parser::parse(text)?;
        Ok(Self { node, kind })
    }

    /// What it comes to.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole number that it comes to; what is behind the point is cut off.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when a field is not there, a whole number does not fit into 64 bits, one is divided by 0, or it
    /// comes to a condition.
    pub fn number(&self, usage: &Usage) -> Result<i64> {
        match eval::eval(&self.node, usage)? {
            Value::Bool(_) => Err(fault(format!("{} where a number was expected", Kind::Bool))),
            Value::Double(number) => eval::whole(number),
            Value::Int(number) => Ok(number),
        }
    }

    /// The condition that it comes to.
    ///
    /// # Errors
    ///
    /// As [`number`](Self::number), or when it comes to a number.
    pub fn condition(&self, usage: &Usage) -> Result<bool> {
        match eval::eval(&self.node, usage)? {
            Value::Bool(holds) => Ok(holds),
            Value::Double(_) | Value::Int(_) => Err(fault(format!("{} where a condition was expected", self.kind))),
        }
    }
}

fn fault(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
