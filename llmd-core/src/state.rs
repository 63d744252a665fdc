//! How far what is known about a worker can be trusted.

use std::fmt;

/// How far the answers about a worker can be trusted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WorkerState {
    /// Guessed from what was routed to it, or from a stream that cannot be checked.
    Approximate,
    /// As of the last event of a stream without gaps.
    Exact,
    /// Events are missing and have been asked for.
    #[default]
    Recovering,
}

/// In lower case, as metrics and bindings say it.
impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approximate => "approximate",
            Self::Exact => "exact",
            Self::Recovering => "recovering",
        })
    }
}
