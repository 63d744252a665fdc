//! What a step did.

/// What one step did, by the tags of the requests. Filled by [`Engine::end_step`](super::Engine::end_step), which empties
/// it first.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StepReport {
    /// Whose first token came.
    pub first: Vec<usize>,
    /// Whose last token came.
    pub finished: Vec<Finished>,
    /// Who began, or began again after a preemption.
    pub admitted: Vec<Admitted>,
    /// How many lost their blocks.
    pub preempted: usize,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finished {
    /// Whose.
    pub tag: usize,
    /// How many tokens of the prompt the cache had when it was first scheduled.
    pub cached_tokens: usize,
    /// How many times it lost its blocks.
    pub preemptions: u32,
}

/// A request that was taken from the queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Admitted {
    /// Which.
    pub tag: usize,
    /// Tokens it has: its prompt, and after a preemption also what came out before.
    pub tokens: usize,
    /// How many of them the cache had.
    pub cached_tokens: usize,
    /// Whether it had been scheduled before.
    pub resumed: bool,
}
