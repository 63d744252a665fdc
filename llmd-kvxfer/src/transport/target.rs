//! An agent, at the place where a grant says that it is.

use std::fmt;

use crate::grant::{AgentId, Grant};

/// An agent, at the place where a grant says that it is: a grant that leads to another place has no say in what becomes of those
/// that do not.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Target {
    pub(super) agent: AgentId,
    /// The place, as a hash: who finds two places with the same one can do no more than keep others from a place that is theirs.
    place: u64,
}

impl Target {
    pub(super) fn of(grant: &Grant, transport: &str) -> Self {
        Self { agent: grant.agent(), place: grant.place(transport) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.agent.fmt(f)
    }
}
