//! What is wrong with a value, and what was expected.

use llmd_core::{Error, ErrorKind};
use serde_json::value::RawValue;

/// How much of a value an error shows.
const SHOWN: usize = 40;

/// The error for a field that holds something else than was expected.
pub(super) fn wrong(kind: ErrorKind, field: &str, found: &RawValue, expected: &str) -> Error {
    let text = found.get();
    let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(end, _)| end);
    let more = if end < text.len() { "…" } else { "" };
    Error::new(kind, format!("{field} {}{more}: expected {expected}", &text[..end]))
}

/// Whether it is `null`, which says as much as nothing.
pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}
