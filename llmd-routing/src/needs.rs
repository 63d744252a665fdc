//! What a scheduler must be given, so that nothing else is read, made or scraped.

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
