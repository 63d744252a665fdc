//! Bringing blocks here.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::time::Duration;

use llmd_core::Result;
use llmd_kvxfer::{Agent, Fetch, OpId};

use super::lease::granted;
use super::llmd_agent;
use super::pool::llmd_pool;
use crate::boundary::{boundary, delivered, given};
use crate::error::llmd_error;
use crate::given::{items, texts};
use crate::sized::{Settings, Sizes, settings};
use crate::status::llmd_status;
use crate::string::llmd_string;

/// Blocks to be brought here.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_fetch {
    /// sizeof(llmd_fetch).
    pub struct_size: usize,
    /// The grant's bytes.
    pub grant: *const u8,
    /// How many there are.
    pub grant_len: usize,
    /// The first of the grant's blocks that are wanted, by its place, counted from 0: what is here already need not be fetched.
    pub first: usize,
    /// How many of them are wanted. Default: all from there on.
    pub count: usize,
    /// A pool of the agent's own.
    pub pool: *const llmd_pool,
    /// Its blocks that are fetched into.
    pub blocks: *const u32,
    /// How many there are.
    pub blocks_len: usize,
    /// Within how long, in milliseconds. Default: 30,000.
    pub within_ms: u64,
    /// The only transports to be used. Default: whichever is fastest.
    pub transports: *const *const c_char,
    /// How many there are.
    pub transports_len: usize,
    /// 1 keeps the lease when it ended, for more to be fetched: whoever granted is told only by llmd_agent_finish.
    pub hold: u32,
    /// Those with a higher one go first: 0 to 255.
    pub priority: u8,
}

impl Sizes for llmd_fetch {
    const NAME: &'static str = "llmd_fetch";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_fetch {}

/// Begins to bring blocks here, and puts the operation's number at `op`. Its end comes once, from llmd_agent_poll or llmd_agent_wait;
/// until then nobody may read or write the blocks that are fetched into. When it fails nothing was begun: LLMD_INVALID and
/// LLMD_UNSUPPORTED for blocks and layouts that do not fit, LLMD_UNAVAILABLE when no transport reaches the agent that granted,
/// LLMD_EXHAUSTED when too many operations are under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_fetch(
    agent: Option<&llmd_agent>,
    fetch: *const llmd_fetch,
    op: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let (agent, op) = (&given(agent, "agent")?.0, given(op, "op")?);
        // SAFETY: as llmd.h says.
        op.write(unsafe { submit(agent, fetch) }?.number());
        Ok(())
    })
}

unsafe fn submit(agent: &Agent, fetch: *const llmd_fetch) -> Result<OpId> {
    // SAFETY: as llmd.h says, for the struct and for all that it points to.
    let (asked, grant, pool, blocks, only) = unsafe {
        let asked = settings(fetch)?;
        (
            asked,
            granted(asked.grant, asked.grant_len)?,
            &given(asked.pool.as_ref(), "pool")?.0,
            items(asked.blocks, asked.blocks_len, "blocks")?,
            texts(asked.transports, asked.transports_len, "transports")?,
        )
    };
    let stop = if asked.count == 0 { grant.blocks().len() } else { asked.first.saturating_add(asked.count) };
    let grant = grant.part(asked.first..stop)?;
    let mut fetch = Fetch::new(&grant, pool, blocks).with_priority(asked.priority);
    if asked.within_ms > 0 {
        fetch = fetch.within(Duration::from_millis(asked.within_ms));
    }
    if !only.is_empty() {
        fetch = fetch.only(&only);
    }
    if asked.hold != 0 {
        fetch = fetch.and_hold();
    }
    agent.submit(&fetch)
}

/// Ends an operation, as LLMD_OUTCOME_CANCELLED unless it was faster. That end still comes, and not before nothing is written to its
/// blocks any more.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_agent_cancel(
    agent: Option<&llmd_agent>,
    op: u64,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || given(agent, "agent")?.0.cancel(OpId::from_number(op)))
}

/// Says in words what each transport would cost for this grant, or why it would not do; a line for each, the one that would be taken
/// first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_consider(
    agent: Option<&llmd_agent>,
    grant: *const u8,
    grant_len: usize,
    pool: Option<&llmd_pool>,
    considered: Option<&mut MaybeUninit<Option<Box<llmd_string>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(considered, "considered", error, || {
        let (agent, pool) = (&given(agent, "agent")?.0, &given(pool, "pool")?.0);
        // SAFETY: as llmd.h says.
        let grant = unsafe { granted(grant, grant_len) }?;
        let mut lines = String::new();
        for considered in agent.consider(&grant, pool) {
            let transport = considered.transport;
            // Writing to a text does not fail.
            let _written = match considered.cost {
                Ok(cost) => writeln!(lines, "{transport}: {:?}, then {:.1} GB/s", cost.latency, cost.rate / 1e9),
                Err(why) => writeln!(lines, "{transport}: {why}"),
            };
        }
        Ok(llmd_string::new(lines))
    })
}
