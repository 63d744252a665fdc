//! What a scheduler counted.

/// What a scheduler counted since it was made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SchedulerStats {
    /// Workers that it is connected with.
    pub connected: usize,
    /// Requests that it knows.
    pub requests: usize,
    /// Requests that were computed here, and of which others were told how to fetch them.
    pub answered: u64,
    /// Requests that were computed here, and that a worker did not grant.
    pub not_granted: u64,
    /// Requests that were computed here, and that the workers did not grant in time.
    pub too_late: u64,
    /// Requests that were computed here, and of whose grants too many bytes came.
    pub too_long: u64,
    /// Requests that arrived, and can be fetched.
    pub arrived: u64,
    /// Requests that arrived with what cannot be read.
    pub malformed: u64,
    /// Requests that arrived with what does not fit here.
    pub unfitting: u64,
    /// Requests that were not taken, because a worker could not be reached.
    pub not_connected: u64,
    /// Requests that were not taken, because as many are known as may be.
    pub refused: u64,
    /// Requests for which blocks were allocated.
    pub allocated: u64,
    /// Requests that the engine aborted while they were known.
    pub aborted: u64,
    /// Requests that the engine preempted while they were fetched.
    pub preempted: u64,
    /// Connections with workers that were lost.
    pub lost_workers: u64,
    /// Attempts to reach a worker that failed.
    pub failed_attempts: u64,
    /// Messages of workers that were none. Whoever sent one is connected with anew.
    pub malformed_messages: u64,
    /// Why a request was not granted, or a worker not reached, when that was last so.
    pub last_failure: Option<String>,
}
