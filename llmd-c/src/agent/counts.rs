//! What an agent counts.
#![expect(unsafe_code, reason = "what C hands over is written through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::mem::{MaybeUninit, offset_of};

use llmd_kvxfer::Outcome;

use super::llmd_agent;
use crate::boundary::{boundary, given};
use crate::error::llmd_error;
use crate::sized::{Sizes, answer};
use crate::status::llmd_status;

/// How many outcomes there is room for in `llmd_agent_counts.ended`.
pub const LLMD_OUTCOMES: usize = 16;

/// What an agent has now, and what it counted since it was made.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_agent_counts {
    /// sizeof(llmd_agent_counts).
    pub struct_size: usize,
    /// Leases that hold.
    pub leases: usize,
    /// Operations under way.
    pub operations: usize,
    /// Peers that it is connected with.
    pub peers: usize,
    /// Operations that ended, by llmd_outcome.
    pub ended: [u64; LLMD_OUTCOMES],
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
    /// Operations that were begun again on another transport.
    pub fallbacks: u64,
    /// Bytes that were sent to others; not those that others copied by themselves.
    pub served_bytes: u64,
    /// Reads that were denied.
    pub denied_reads: u64,
    /// Reads with a lease that had ended.
    pub stale_reads: u64,
    /// Peers that were not let in.
    pub refused_peers: u64,
    /// Messages that were none.
    pub malformed_messages: u64,
    /// Notes of leases that had ended, or of none.
    pub lost_notes: u64,
    /// Bytes that were fetched by `shm` out of memory of a peer that this process mapped.
    pub mapped_bytes: u64,
    /// Bytes that were fetched by `shm` out of a peer's memory by its address.
    pub cma_bytes: u64,
    /// Bytes that were fetched by `shm` and copied there by the peer.
    pub staged_bytes: u64,
    /// Bytes that were fetched by `cuda_ipc` out of memory that another process's device exported.
    pub ipc_bytes: u64,
}

impl Sizes for llmd_agent_counts {
    const NAME: &'static str = "llmd_agent_counts";
    const SIZES: &'static [usize] = &[offset_of!(Self, mapped_bytes), size_of::<Self>()];
}

/// What the agent has, and what it counted. Set `counts->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_stats(
    agent: Option<&llmd_agent>,
    counts: *mut llmd_agent_counts,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    const { assert!(Outcome::ALL.len() <= LLMD_OUTCOMES, "every outcome has a place") }
    boundary(error, || {
        let agent = &given(agent, "agent")?.0;
        let tell = |struct_size| {
            let now = agent.stats();
            let mut ended = [0; LLMD_OUTCOMES];
            ended[..now.ended.len()].copy_from_slice(&now.ended);
            Ok(llmd_agent_counts {
                struct_size,
                leases: now.leases,
                operations: now.operations,
                peers: now.peers,
                ended,
                fetched_bytes: now.fetched_bytes,
                fallbacks: now.fallbacks,
                served_bytes: now.served_bytes,
                denied_reads: now.denied_reads,
                stale_reads: now.stale_reads,
                refused_peers: now.refused_peers,
                malformed_messages: now.malformed_messages,
                lost_notes: now.lost_notes,
                mapped_bytes: now.mapped_bytes,
                cma_bytes: now.cma_bytes,
                staged_bytes: now.staged_bytes,
                ipc_bytes: now.ipc_bytes,
            })
        };
        // SAFETY: as llmd.h says.
        unsafe { answer(counts, tell) }
    })
}
