//! Regions that an agent knows, with their layouts.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::mem::MaybeUninit;

use llmd_kvxfer::Pool;

use super::llmd_agent;
use crate::boundary::{boundary, given, made};
use crate::error::llmd_error;
use crate::filled::fill;
use crate::given::{items, text_or_null};
use crate::layout::llmd_layout;
use crate::quiet::quietly;
use crate::region::llmd_region;
use crate::status::llmd_status;

/// A region that an agent knows, with its layout: what blocks are granted of and fetched into.
#[derive(Debug)]
pub struct llmd_pool(pub(super) Pool);

/// Takes a region in, laid out like this: from now on its blocks can be granted, and blocks fetched into it. `tenant` is whom it is
/// for; NULL for the agent's own. NULL when it cannot be: LLMD_INVALID when the region is shorter than its layout, LLMD_UNSUPPORTED
/// when no transport of the agent can move such memory, LLMD_DENIED when it is another tenant's already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_register(
    agent: Option<&llmd_agent>,
    region: Option<&llmd_region>,
    layout: Option<&llmd_layout>,
    tenant: *const c_char,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_pool>> {
    made(error, || {
        let agent = &given(agent, "agent")?.0;
        let (region, layout) = (given(region, "region")?.0.clone(), given(layout, "layout")?.0.clone());
        // SAFETY: as llmd.h says.
        let pool = match unsafe { text_or_null(tenant, "tenant") }? {
            Some(tenant) => agent.register_for(tenant, region, layout),
            None => agent.register(region, layout),
        };
        pool.map(llmd_pool)
    })
}

/// Forgets a pool: leases of its blocks are released, and no grant names it again. Its memory stays until it is freed.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_agent_unregister(
    agent: Option<&llmd_agent>,
    pool: Option<&llmd_pool>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || given(agent, "agent")?.0.unregister(&given(pool, "pool")?.0))
}

/// Its number in its agent, never used twice; a lease that ended names it. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_pool_id(pool: Option<&llmd_pool>) -> u32 {
    pool.map_or(0, |pool| pool.0.id())
}

/// Writes a block's content to `content`, in the order in which it lies. `content_len` says how many bytes there is room for, and is
/// told how many there are. LLMD_EXHAUSTED when that is more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_pool_read_block(
    pool: Option<&llmd_pool>,
    block: u32,
    content: *mut u8,
    content_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let bytes = given(pool, "pool")?.0.read_block(block)?;
        // SAFETY: as llmd.h says.
        unsafe { fill(content, content_len, bytes.into_iter(), "content") }
    })
}

/// Copies a block's content into the pool, in the order in which it lies there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_pool_write_block(
    pool: Option<&llmd_pool>,
    block: u32,
    content: *const u8,
    content_len: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let pool = &given(pool, "pool")?.0;
        // SAFETY: as llmd.h says.
        pool.write_block(block, unsafe { items(content, content_len, "content") }?)
    })
}

/// Frees a pool; its agent still knows it, unless it was unregistered. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_pool_free(pool: Option<Box<llmd_pool>>) {
    quietly((), || drop(pool));
}
