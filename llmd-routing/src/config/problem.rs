//! What is wrong with a configuration, for those who show it.

use std::fmt::{self, Display};

use llmd_core::ErrorKind;

use super::fault::Fault;

/// One thing that is wrong with a configuration. Shown, it is the line that [`from_yaml`] says of it.
///
/// [`from_yaml`]: crate::EndpointPickerConfig::from_yaml
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// The line, counted from 1; 0 when it has no place in the text.
    pub line: u64,
    /// The column, counted from 1; 0 when it has no place in the text.
    pub column: u64,
    /// The way there: `plugins[0].parameters.threshold`; empty for the document as a whole.
    pub path: String,
    /// [`Invalid`](ErrorKind::Invalid), or [`Unsupported`](ErrorKind::Unsupported) for what llm-d has and llmd has not.
    pub kind: ErrorKind,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let at = fault.at.unwrap_or_default();
        let path = fault.path();
        Self { line: at.line, column: at.column, path, kind: fault.kind, message: fault.message }
    }
}

/// `line 3, column 5: plugins[0].parameters.thresold: unknown field …`
impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
