//! Feeding an index, batch by batch.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::mem::MaybeUninit;

use llmd_core::Result;
use llmd_core::feed::Fed;
use llmd_core::index::WorkerState;

use super::llmd_index;
use crate::boundary::{boundary, given};
use crate::clock::now;
use crate::error::llmd_error;
use crate::events::llmd_trtllm_events;
use crate::given::{items, text};
use crate::sized::{Sizes, answer};
use crate::status::llmd_status;

/// No sequence number: as an argument, the batch came without one; as an answer, nothing is missing.
pub const LLMD_NO_SEQ: u64 = u64::MAX;

/// How far the answers about a worker can be trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_worker_state {
    /// From a stream that cannot be checked, or of which something is missing for good.
    LLMD_APPROXIMATE = 0,
    /// As of the last event of a stream without gaps.
    LLMD_EXACT = 1,
    /// Events are missing and are waited for.
    LLMD_RECOVERING = 2,
}

impl From<WorkerState> for llmd_worker_state {
    fn from(state: WorkerState) -> Self {
        match state {
            WorkerState::Exact => Self::LLMD_EXACT,
            WorkerState::Recovering => Self::LLMD_RECOVERING,
            // A state that this header does not know promises nothing.
            _ => Self::LLMD_APPROXIMATE,
        }
    }
}

/// What became of a batch that was fed.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_fed {
    /// sizeof(llmd_fed).
    pub struct_size: usize,
    /// How many events were taken into the index: none while the batch waits for others, and those of all that waited when
    /// it was the one that was missing.
    pub events: usize,
    /// How many events of this batch could not be read; llmd_events_decode says which and why.
    pub errors: usize,
    /// Copies of blocks that were added.
    pub stored: usize,
    /// Copies that were taken away.
    pub removed: usize,
    /// Blocks that wait for their parent, counted in `stored` too.
    pub orphaned: usize,
    /// Removals of blocks that were not held: a sign that events were lost.
    pub unknown_removals: usize,
    /// Blocks that were dropped because a limit was reached.
    pub dropped: usize,
    /// From which number on the engine should replay, inclusive; LLMD_NO_SEQ when nothing is missing.
    pub missing_from: u64,
    /// How far the answers about the worker can be trusted now.
    pub state: llmd_worker_state,
    /// 1 when the batch came before, and was skipped; 0 otherwise.
    pub duplicate: u32,
}

impl Sizes for llmd_fed {
    const NAME: &'static str = "llmd_fed";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

/// Takes one batch of `worker`'s engine as it came; makes the worker, if it is new. With `seq`, the number that the engine
/// gave the batch, it is put in order: batches after a gap wait, while `fed->missing_from` says from where the engine should
/// replay. A replay is fed by this call too, in order and including the number that was asked for. With LLMD_NO_SEQ the
/// worker is never exact. `fed` may be NULL; set `fed->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_apply(
    index: Option<&llmd_index>,
    worker: *const c_char,
    seq: u64,
    payload: *const u8,
    payload_len: usize,
    fed: *mut llmd_fed,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let index = given(index, "index")?;
        // SAFETY: as llmd.h says.
        let (worker, payload) = unsafe { (text(worker, "worker")?, items(payload, payload_len, "payload")?) };
        let done = || index.feed.apply(now(), worker, (seq != LLMD_NO_SEQ).then_some(seq), payload);
        // SAFETY: as llmd.h says.
        unsafe { feed(fed, done) }
    })
}

/// Takes the batch at `place` among what a TensorRT-LLM engine said, under the number that it has, as llmd_index_apply does.
/// Each of the engine's ranks is a worker by itself. The engine replays nothing: `without_replay` is for an index of such engines.
/// `fed` may be NULL; set `fed->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_apply_trtllm(
    index: Option<&llmd_index>,
    worker: *const c_char,
    events: Option<&llmd_trtllm_events>,
    place: usize,
    fed: *mut llmd_fed,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let (index, events) = (given(index, "index")?, given(events, "events")?);
        // SAFETY: as llmd.h says.
        let worker = unsafe { text(worker, "worker") }?;
        let batch = events.numbered(place)?;
        // SAFETY: as llmd.h says.
        unsafe { feed(fed, || index.feed.apply_numbered(now(), worker, batch)) }
    })
}

/// What is missing of `worker` will not come: what waits is applied, and the worker is approximate. Nothing happens when
/// nothing is missing. `fed` may be NULL; set `fed->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_give_up(
    index: Option<&llmd_index>,
    worker: *const c_char,
    fed: *mut llmd_fed,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let index = given(index, "index")?;
        // SAFETY: as llmd.h says.
        let worker = unsafe { text(worker, "worker") }?;
        // SAFETY: as llmd.h says.
        unsafe { feed(fed, || index.feed.give_up(now(), worker)) }
    })
}

/// Feeds, unless there is no telling how it went.
unsafe fn feed(fed: *mut llmd_fed, feed: impl FnOnce() -> Result<Fed>) -> Result<()> {
    if fed.is_null() {
        return feed().map(drop);
    }
    // SAFETY: the caller's promise is the same.
    unsafe { answer(fed, |struct_size| feed().map(|done| tell(&done, struct_size))) }
}

fn tell(done: &Fed, struct_size: usize) -> llmd_fed {
    llmd_fed {
        struct_size,
        events: done.events.len(),
        errors: done.errors.len().saturating_add(done.errors_dropped),
        stored: done.applied.stored,
        removed: done.applied.removed,
        orphaned: done.applied.orphaned,
        unknown_removals: done.applied.unknown_removals,
        dropped: done.applied.dropped,
        missing_from: done.missing_from.unwrap_or(LLMD_NO_SEQ),
        state: done.state.into(),
        duplicate: u32::from(done.duplicate),
    }
}
