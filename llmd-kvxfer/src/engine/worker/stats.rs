//! What a worker counted.

use crate::agent::AgentStats;
use crate::session::{decode, prefill};

/// What a worker counted since it was made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// What happened on the side that prefills.
    pub prefill: prefill::Counts,
    /// What happened on the side that decodes.
    pub decode: decode::Counts,
    /// What the agent counted.
    pub agent: AgentStats,
    /// Requests that are lent, or about to be.
    pub lending: usize,
    /// Requests into whose blocks something is written.
    pub loading: usize,
    /// Schedulers that were let in.
    pub schedulers: u64,
    /// Connections that were not let in, or not kept: strangers, and whoever came while another scheduler was there.
    pub refused_schedulers: u64,
    /// Messages that were none. Whoever sent one is cut off.
    pub malformed_messages: u64,
    /// Connections of schedulers that ended.
    pub lost_schedulers: u64,
    /// Requests that were given up because their scheduler went away.
    pub given_up: u64,
    /// Grants that the agent refused.
    pub refused_grants: u64,
    /// Fetches that the agent refused, or that cannot be made of what was granted.
    pub refused_fetches: u64,
    /// Requests that were refused, because too much was not taken by the engine.
    pub refused_untold: u64,
    /// Leases that could not be kept, or not be given up: they end by themselves.
    pub unheard: u64,
    /// Allocations that made no sense: all of their blocks failed.
    pub misunderstood: u64,
    /// Panics that were caught. What was under way was given up.
    pub panics: u64,
}
