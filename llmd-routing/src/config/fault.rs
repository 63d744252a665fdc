//! What is wrong with a configuration, and where.

use std::fmt::{self, Display};

use llmd_core::{Error, ErrorKind};
use serde::de::{self, Expected, Unexpected};

use super::nearest;

pub(super) type Result<T, E = Fault> = std::result::Result<T, E>;

/// What is wrong, and where. It gathers its place on the way up: each level adds the step that led down.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    kind: ErrorKind,
    message: String,
    at: Option<Mark>,
    /// The innermost step first.
    path: Vec<Step>,
}

/// One step down in a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Field(String),
    Item(usize),
}

/// A place in the text, counted from 1.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Fault {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, message: message.into(), at: None, path: Vec::new() }
    }

    /// llm-d has it and llmd has not.
    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, ..Self::invalid(message) }
    }

    /// A field that llm-d takes and llmd does not.
    pub(super) fn not_supported(instead: &str) -> Self {
        Self::unsupported(format!("not supported: {instead}"))
    }

    /// The same, at this place, unless the place is known more exactly.
    pub(super) fn at(self, mark: Mark) -> Self {
        Self { at: self.at.or(Some(mark)), ..self }
    }

    /// The same, inside the field of this name.
    pub(super) fn within(mut self, field: &str) -> Self {
        self.path.push(Step::Field(field.to_owned()));
        self
    }

    /// The same, inside the item at this place of a list.
    pub(super) fn within_item(mut self, place: usize) -> Self {
        self.path.push(Step::Item(place));
        self
    }

    /// The same, inside the field that these lead to.
    pub(super) fn along(self, path: &[&str]) -> Self {
        path.iter().rev().fold(self, |fault, field| fault.within(field))
    }

    /// The steps that lead to it, the outermost first.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.path.iter().rev()
    }

    /// `plugins[0].parameters.threshold`.
    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps() {
            match step {
                Step::Field(name) if path.is_empty() => path += name,
                Step::Field(name) => path += &format!(".{name}"),
                Step::Item(place) => path += &format!("[{place}]"),
            }
        }
        path
    }
}

/// `line 3, column 5: plugins[0].parameters.thresold: unknown field …`
impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Mark { line, column }) = self.at {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path())?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind, fault.to_string())
    }
}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::invalid(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid(format!("{unexpected} where {} was expected", in_words(expected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid(format!("{unexpected} where {} was expected", in_words(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::invalid(nearest::unknown("field", field, expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::invalid(nearest::unknown("value", variant, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::invalid(format!("field {field} is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::invalid(format!("field {field} is given twice"))
    }
}

/// What was expected, in words for those who know no Rust.
fn in_words(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "a boolean" => "`true` or `false`".to_owned(),
        "f64" => "a number".to_owned(),
        "i64" => "a whole number".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number that is not negative".to_owned(),
        other if other.starts_with("struct ") => "a map".to_owned(),
        other => other.to_owned(),
    }
}
