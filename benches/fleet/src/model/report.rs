//! What a step did, for whoever answers clients and keeps counts.

use std::time::Duration;

use super::name::RequestId;

/// What one step did. Filled by [`Engine::end_step`](super::Engine::end_step), which empties it first.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StepReport {
    /// One token per request that produced one.
    pub outputs: Vec<Output>,
    /// The requests that began, or began again after a preemption.
    pub admitted: Vec<Admission>,
    /// How many requests lost their blocks.
    pub preempted: usize,
    /// How many tokens were computed, prompts and decodes.
    pub tokens: usize,
}

/// One token of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Output {
    /// Whose token.
    pub request: RequestId,
    /// The token.
    pub token: llmd_core::TokenId,
    /// How many tokens of this request came before.
    pub position: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// How many tokens of the prompt the cache had.
    pub cached_tokens: usize,
    /// When the one before came; for the first, when the request came in.
    pub since: Duration,
    /// Set with the last token.
    pub finish: Option<Finish>,
}

/// How a request ended: it always produces all its tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finish {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens produced.
    pub completion_tokens: usize,
    /// How many times it lost its blocks.
    pub preemptions: usize,
    /// When what happened.
    pub times: Timeline,
}

/// When what happened to a request, in engine time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Timeline {
    /// It came in.
    pub arrived: Duration,
    /// The front end handed it to the scheduler.
    pub queued: Duration,
    /// It was first scheduled.
    pub scheduled: Duration,
    /// Its first token came.
    pub first_token: Duration,
    /// Its latest token came.
    pub last_token: Duration,
}

/// A request that was taken from the queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Admission {
    /// Which.
    pub request: RequestId,
    /// Tokens it has: its prompt, and after a preemption also what came out before.
    pub tokens: usize,
    /// How many of them the cache had.
    pub cached_tokens: usize,
    /// Whether it had been scheduled before.
    pub resumed: bool,
}
