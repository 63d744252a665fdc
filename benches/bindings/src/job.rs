//! What is measured.

/// One kind of call.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Job {
    /// A batch of events is taken into an index.
    Apply,
    /// An endpoint is chosen for a prompt, and the decision given back.
    Decide,
    /// How many leading blocks does each worker hold? Into an array of numbers.
    Dense,
    /// Who holds a prompt?
    Query,
}

impl Job {
    pub(crate) const ALL: [Self; 4] = [Self::Apply, Self::Decide, Self::Dense, Self::Query];

    /// As the processes and the figures call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Decide => "decide",
            Self::Dense => "dense",
            Self::Query => "query",
        }
    }

    /// How many calls a turn makes: some milliseconds' worth. Batches are stored and removed in turns, so theirs is even.
    pub(crate) const fn calls(self) -> usize {
        match self {
            Self::Apply => 200,
            Self::Decide => 1000,
            Self::Dense | Self::Query => 4000,
        }
    }
}
