//! Lending blocks, and saying what becomes of what was lent.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::mem::MaybeUninit;
use std::time::Duration;

use llmd_core::Result;
use llmd_kvxfer::{Grant, Kept, Lease};

use super::llmd_agent;
use super::pool::llmd_pool;
use crate::boundary::{boundary, delivered, given, invalid, made};
use crate::bytes::llmd_bytes;
use crate::error::llmd_error;
use crate::given::items;
use crate::quiet::quietly;
use crate::sized::{Settings, Sizes, answer, settings};
use crate::status::llmd_status;

/// On which terms blocks are lent.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_lease_terms {
    /// sizeof(llmd_lease_terms).
    pub struct_size: usize,
    /// For how long without a heartbeat, in milliseconds. Default: 30,000.
    pub ttl_ms: u64,
    /// For how long with heartbeats, in milliseconds. Default: ten times `ttl_ms`.
    pub longest_ms: u64,
    /// To how many consumers, such as the ranks of a decoder. Default: 1.
    pub consumers: u16,
}

impl Sizes for llmd_lease_terms {
    const NAME: &'static str = "llmd_lease_terms";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers, in C's layout, with the size first.
unsafe impl Settings for llmd_lease_terms {}

/// What a grant says that is no secret.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_grant {
    /// sizeof(llmd_grant).
    pub struct_size: usize,
    /// How many blocks it names.
    pub blocks: usize,
    /// How many bytes of content each has, in the layout of who granted.
    pub block_bytes: u64,
    /// For how long it was granted, when it was, in milliseconds.
    pub ttl_ms: u64,
    /// The lease, of which a place is used again and again: how often it was.
    pub lease_generation: u64,
    /// The lease's place.
    pub lease_slot: u32,
    /// The pool that the blocks are of.
    pub pool: u32,
}

impl Sizes for llmd_grant {
    const NAME: &'static str = "llmd_grant";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

/// Lends blocks of a pool, and puts the bytes that name them at `grant`: whoever sees those may read the blocks as long as the lease
/// holds. Nobody may write them until llmd_agent_poll says that they are free. `terms` may be NULL. LLMD_INVALID for blocks that the
/// pool does not have, LLMD_EXHAUSTED when as many leases hold as may.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_grant(
    agent: Option<&llmd_agent>,
    pool: Option<&llmd_pool>,
    blocks: *const u32,
    blocks_len: usize,
    terms: *const llmd_lease_terms,
    grant: Option<&mut MaybeUninit<Option<Box<llmd_bytes>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(grant, "grant", error, || {
        let (agent, pool) = (&given(agent, "agent")?.0, &given(pool, "pool")?.0);
        // SAFETY: as llmd.h says.
        let (blocks, terms) = unsafe { (items(blocks, blocks_len, "blocks")?, lease(terms)?) };
        Ok(llmd_bytes::new(agent.grant(pool, blocks, terms)?.to_bytes()))
    })
}

unsafe fn lease(terms: *const llmd_lease_terms) -> Result<Lease> {
    const TTL: Duration = Duration::from_secs(30);
    if terms.is_null() {
        return Ok(Lease::new(TTL));
    }
    // SAFETY: as llmd.h says.
    let given = unsafe { settings(terms) }?;
    let ttl = if given.ttl_ms == 0 { TTL } else { Duration::from_millis(given.ttl_ms) };
    let lease = Lease::new(ttl).consumers(given.consumers);
    Ok(if given.longest_ms == 0 { lease } else { lease.at_most(Duration::from_millis(given.longest_ms)) })
}

/// The grant that these bytes are.
///
/// # Safety
///
/// They are as `llmd.h` says.
pub(super) unsafe fn granted(grant: *const u8, grant_len: usize) -> Result<Grant> {
    // SAFETY: the caller's promise is the same.
    Grant::from_bytes(unsafe { items(grant, grant_len, "grant") }?)
}

/// Looks into a grant. LLMD_CORRUPT for bytes that are none. Set `read->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_grant_read(
    grant: *const u8,
    grant_len: usize,
    read: *mut llmd_grant,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        let grant = unsafe { granted(grant, grant_len) }?;
        let tell = |struct_size| {
            Ok(llmd_grant {
                struct_size,
                blocks: grant.blocks().len(),
                block_bytes: grant.layout().block_bytes(),
                ttl_ms: grant.ttl().as_millis().try_into().unwrap_or(u64::MAX),
                lease_generation: grant.lease().generation,
                lease_slot: grant.lease().slot,
                pool: grant.pool(),
            })
        };
        // SAFETY: as llmd.h says.
        unsafe { answer(read, tell) }
    })
}

/// Takes a lease of this agent's back, whoever reads: they are told that it is stale. Puts at `held` whether it still held, 1 or 0;
/// `held` may be NULL. LLMD_INVALID for a grant of another agent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_release(
    agent: Option<&llmd_agent>,
    grant: *const u8,
    grant_len: usize,
    held: Option<&mut MaybeUninit<u32>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let agent = &given(agent, "agent")?.0;
        // SAFETY: as llmd.h says.
        let grant = unsafe { granted(grant, grant_len) }?;
        if grant.agent() != agent.id() {
            return Err(invalid(format!("a grant of agent {}, expected one of agent {}", grant.agent(), agent.id())));
        }
        let did_hold = agent.release(grant.lease())?;
        if let Some(held) = held {
            held.write(did_hold.into());
        }
        Ok(())
    })
}

/// Says that this agent needs nothing more of a grant: of one that was never fetched, or fetched with `hold`. LLMD_UNAVAILABLE when
/// the agent that granted cannot be reached: then the lease ends by itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_finish(
    agent: Option<&llmd_agent>,
    grant: *const u8,
    grant_len: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let agent = &given(agent, "agent")?.0;
        // SAFETY: as llmd.h says.
        agent.finish(&unsafe { granted(grant, grant_len) }?)
    })
}

/// Has a lease prolonged until it is freed.
#[derive(Debug)]
pub struct llmd_kept(#[expect(dead_code, reason = "it is kept to be dropped")] Kept);

/// Has a grant's lease prolonged until what this returns is freed: for one that waits to be fetched. NULL when it cannot be:
/// LLMD_EXHAUSTED when too many are kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_keep(
    agent: Option<&llmd_agent>,
    grant: *const u8,
    grant_len: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_kept>> {
    made(error, || {
        let agent = &given(agent, "agent")?.0;
        // SAFETY: as llmd.h says.
        agent.keep(&unsafe { granted(grant, grant_len) }?).map(llmd_kept)
    })
}

/// No longer prolongs a lease. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_kept_free(kept: Option<Box<llmd_kept>>) {
    quietly((), || drop(kept));
}
