//! What happened on the prefiller's side, by cause.

/// How often each thing happened since the machine was made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests that were taken.
    pub computed: u64,
    /// Requests that were not taken, because as many as may be are held, or actions wait to be polled.
    pub refused: u64,
    /// Requests that were not taken, because what was said of them cannot be.
    pub invalid: u64,
    /// Requests whose answer says how to fetch them.
    pub answered: u64,
    /// Requests whose answer says nothing, because a part was not granted.
    pub not_granted: u64,
    /// Requests that the engine aborted while they were held.
    pub aborted: u64,
    /// Requests that were given up, because they were held for too long.
    pub overdue: u64,
    /// Requests that ended because an agent restarted.
    pub restarted: u64,
    /// Requests whose blocks may be reused.
    pub freed: u64,
    /// Leases that all consumers finished.
    pub finished: u64,
    /// Leases that lapsed.
    pub lapsed: u64,
    /// Leases that were given up.
    pub released: u64,
    /// Leases that were given up once more, because nothing was heard of them.
    pub asked_again: u64,
    /// Notices of what is not held: late, or told twice.
    pub late: u64,
}
