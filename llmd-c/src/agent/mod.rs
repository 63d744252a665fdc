//! Moving KV: agents, their pools, and what becomes of what is fetched.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

mod counts;
mod event;
mod fetch;
mod lease;
mod pool;
mod settings;

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;

use llmd_kvxfer::Agent;

pub use self::counts::{LLMD_OUTCOMES, llmd_agent_counts, llmd_agent_stats};
pub use self::event::{
    llmd_agent_event, llmd_agent_event_kind, llmd_agent_events, llmd_agent_events_free, llmd_agent_events_get,
    llmd_agent_events_len, llmd_agent_poll, llmd_agent_wait, llmd_lease_end, llmd_outcome, llmd_outcome_name,
};
pub use self::fetch::{llmd_agent_cancel, llmd_agent_consider, llmd_agent_fetch, llmd_fetch};
pub use self::lease::{
    llmd_agent_finish, llmd_agent_grant, llmd_agent_keep, llmd_agent_release, llmd_grant, llmd_grant_read, llmd_kept,
    llmd_kept_free, llmd_lease_terms,
};
pub use self::pool::{
    llmd_agent_register, llmd_agent_unregister, llmd_pool, llmd_pool_free, llmd_pool_id, llmd_pool_read_block,
    llmd_pool_write_block,
};
pub use self::settings::{llmd_agent_settings, llmd_check, llmd_tenant};
use crate::boundary::made;
use crate::error::llmd_error;
use crate::quiet::quietly;

/// Lends blocks of its pools to other agents, and fetches theirs. May be used by several threads at once. It has one thread of its
/// own, which sleeps unless there is something to do, and a few that copy.
#[derive(Debug)]
pub struct llmd_agent(pub(crate) Agent);

/// An agent; NULL when it cannot be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_new(
    settings: *const llmd_agent_settings,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_agent>> {
    // SAFETY: as llmd.h says.
    made(error, || unsafe { settings::build(settings) }.map(llmd_agent))
}

/// A descriptor that is readable when llmd_agent_poll has something to say, for loops: it is the agent's, and not to be read or
/// closed. -1 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_agent_wake_fd(agent: Option<&llmd_agent>) -> c_int {
    agent.map_or(-1, |agent| agent.0.wake_fd().as_raw_fd())
}

/// Ends an agent: what is under way is left, and its leases can be read no more. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_agent_free(agent: Option<Box<llmd_agent>>) {
    quietly((), || drop(agent));
}
