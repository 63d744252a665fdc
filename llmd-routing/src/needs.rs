//! What a scheduler must be given, so that nothing else is read, made or scraped.

use crate::plugin::Data;

/// What the configured plugins read. Whoever feeds the scheduler does this much and no more: a request pays only for
/// what its decision needs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Needs {
    /// The prompt as tokens, and so the body.
    pub tokens: bool,
    /// What engines say about themselves.
    pub metrics: bool,
    /// KV events.
    pub events: bool,
    /// When the first token of a response passed.
    pub response: bool,
}

impl Needs {
    /// What must be there for somebody who reads `data`.
    pub(crate) fn add(&mut self, data: &Data) {
        match data {
            Data::Events => self.events = true,
            Data::InFlightRequests => {}
            Data::InFlightTokens => (self.tokens, self.response) = (true, true),
            Data::Metrics => self.metrics = true,
            Data::PrefixMatch(_) | Data::Tokens => self.tokens = true,
        }
    }
}
