//! What could not be read, on its way to the errors of a batch.

use std::borrow::Cow;

use super::{EventError, KvEventBatch};

/// How many [`EventError`]s of a batch are kept; those after them are counted in [`KvEventBatch::errors_dropped`].
pub const MAX_EVENT_ERRORS: usize = 64;

/// How much of a text a message quotes.
const MAX_QUOTED: usize = 64;

/// Why a value could not be read, and where.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Fault {
    /// The first byte of the payload that could not be read.
    pub(super) byte: usize,
    /// The field it stands in; empty when no field had begun.
    pub(super) field: &'static str,
    /// What was found and what was expected.
    pub(super) message: Cow<'static, str>,
}

impl Fault {
    pub(super) fn new(byte: usize, message: impl Into<Cow<'static, str>>) -> Self {
        Self { byte, field: "", message: message.into() }
    }

    pub(super) fn in_field(self, field: &'static str) -> Self {
        Self { field, ..self }
    }
}

impl KvEventBatch {
    /// Takes up what was wrong with the event at this place.
    pub(super) fn report(&mut self, event: usize, fault: Fault) {
        report(&mut self.errors, &mut self.errors_dropped, event, fault);
    }
}

/// Takes up what was wrong with an event, or counts it when there is enough already.
pub(super) fn report(errors: &mut Vec<EventError>, dropped: &mut usize, event: usize, fault: Fault) {
    if errors.len() == MAX_EVENT_ERRORS {
        *dropped += 1;
        return;
    }
    let Fault { byte, field, message } = fault;
    errors.push(EventError { event, byte, field, message: message.into_owned() });
}

/// A text as a message shows it: its beginning, with quotes.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
