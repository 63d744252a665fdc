//! What is wrong with a configuration, and where.

use std::fmt::{self, Display};

use llmd_core::{Error, ErrorKind};
use serde::de::{self, Expected, Unexpected};

use super::nearest;
use super::problem::Problem;

pub(super) type Result<T, E = Fault> = std::result::Result<T, E>;

/// What is wrong, and where. It gathers its place on the way up: each level adds the step that led down.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) at: Option<Mark>,
    pub(super) about: About,
    /// The innermost step first.
    path: Vec<Step>,
}

/// What a fault is about, for those who read on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum About {
    /// Something is not there: a field of the map at the fault's place, or what others need.
    Missing(String),
    /// Nothing is wrong that was not said before: it needs what was pruned.
    Pruned,
    /// A field that nobody knows, and the one that was probably meant.
    Unknown(Option<String>),
    Value,
}

/// One step down in a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Field(String),
    Item(usize),
}

/// A place in the text, counted from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Mark {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Fault {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, message: message.into(), at: None, about: About::Value, path: Vec::new() }
    }

    /// llm-d has it and llmd has not.
    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, ..Self::invalid(message) }
    }

    /// A field that llm-d takes and llmd does not.
    pub(super) fn not_supported(instead: &str) -> Self {
        Self::unsupported(format!("not supported: {instead}"))
    }

    /// A field that is not known.
    pub(super) fn unknown_field(name: &str, known: &[&str]) -> Self {
        let meant = nearest::nearest(name, known).map(str::to_owned);
        Self { about: About::Unknown(meant), ..Self::invalid(nearest::unknown("field", name, known)) }
    }

    /// A field that is not there.
    pub(super) fn missing(name: &str) -> Self {
        Self::invalid(format!("field {name} is missing")).lacking(name)
    }

    /// What was pruned is needed.
    pub(super) fn pruned() -> Self {
        Self { about: About::Pruned, ..Self::invalid("what was wrong above is needed") }
    }

    /// What is not wrong, but better said otherwise.
    pub(super) fn warning(message: impl Into<String>) -> Self {
        Self::invalid(message)
    }

    /// The same, as what is there only since something was pruned.
    pub(super) fn following(self) -> Self {
        Self { about: About::Pruned, ..self }
    }

    /// The same, since something of this name is not there.
    pub(super) fn lacking(self, name: &str) -> Self {
        Self { about: About::Missing(name.to_owned()), ..self }
    }

    /// The same, at this place, unless the place is known more exactly.
    pub(super) fn at(self, mark: Mark) -> Self {
        // What was not written is nowhere.
        let written = Some(mark).filter(|mark| *mark != Mark::default());
        Self { at: self.at.or(written), ..self }
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
    pub(super) fn path(&self) -> String {
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

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Problem::from(self.clone()).fmt(f)
    }
}

impl std::error::Error for Fault {}

/// What has no place.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { kind: error.kind(), ..Self::invalid(error.to_string()) }
    }
}

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
        Self::unknown_field(field, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::invalid(nearest::unknown("value", variant, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::missing(field)
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
