//! What a scheduler must be given, so that nothing else is read, made or scraped.

/// What the configured plugins read. Whoever feeds the scheduler does this much and no more: a request pays only for
/// what its decision needs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Needs {
    /// What others than the engines measure of endpoints: [`Endpoint::set_attribute`](crate::Endpoint::set_attribute).
    pub attributes: bool,
    /// Anything in the body of a request besides the model's name.
    pub body: bool,
    /// The cookies of a request, which say who somebody is and so are else kept from plugins.
    pub cookies: bool,
    /// The prompt as tokens.
    pub tokens: bool,
    /// What engines say about themselves.
    pub metrics: bool,
    /// KV events.
    pub events: bool,
    /// When the first token of a response passed.
    pub response: bool,
    /// What the engine says at the end of a response that it took.
    pub usage: bool,
}
