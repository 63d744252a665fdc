//! What happened on the decoder's side, by cause.

use crate::Outcome;

/// How often each thing happened since the machine was made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests that were taken.
    pub arrived: u64,
    /// Requests whose params cannot be read, or whose name or prompt cannot be. They are computed here.
    pub malformed: u64,
    /// Requests that were not taken, because as many as may be are held, or actions wait to be polled. They are computed here.
    pub refused: u64,
    /// Requests that were told of while they are held.
    pub duplicate: u64,
    /// Requests that waited for their turn for too long. They are computed here.
    pub waited_out: u64,
    /// Requests of which the engine wants nothing from outside.
    pub not_wanted: u64,
    /// Requests for which blocks were allocated when nothing was left to be fetched. They are computed here.
    pub gone: u64,
    /// Requests that were fetched whole.
    pub loaded: u64,
    /// Requests of which some or all is computed here, because it could not be fetched.
    pub recomputed: u64,
    /// Requests that the engine aborted while they were held.
    pub aborted: u64,
    /// Requests that the engine preempted while they were fetched.
    pub preempted: u64,
    /// Requests whose fetching took too long.
    pub late: u64,
    /// Requests whose other parts were cancelled, because the first block failed.
    pub useless: u64,
    /// Blocks that were fetched, of requests that were not aborted or preempted.
    pub blocks_loaded: u64,
    /// Blocks that could not be fetched, of requests that were not aborted or preempted.
    pub blocks_failed: u64,
    /// Blocks, of those, that nobody had granted.
    pub blocks_not_granted: u64,
    /// Fetches that were tried once more.
    pub retried: u64,
    /// Fetches that were cancelled once more, because nothing was heard of them.
    pub asked_again: u64,
    /// Fetches whose blocks were told in another number than was asked for. They count as failed.
    pub misfit: u64,
    /// Fetches that ended because the agent restarted.
    pub restarted: u64,
    /// Notices of what is not being fetched: late, or told twice.
    pub unknown: u64,
    /// How many fetches ended how, by [`Outcome::index`].
    pub outcomes: [u64; Outcome::ALL.len()],
}
