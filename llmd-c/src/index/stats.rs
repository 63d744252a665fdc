//! How much an index holds.
#![expect(unsafe_code, reason = "what C hands over is written through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::mem::{MaybeUninit, offset_of};

use super::llmd_index;
use crate::boundary::{boundary, given};
use crate::error::llmd_error;
use crate::sized::{Sizes, answer};
use crate::status::llmd_status;

/// How much an index holds now, and what it could not take since it was made.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_stats {
    /// sizeof(llmd_stats).
    pub struct_size: usize,
    /// Workers that are known.
    pub workers: usize,
    /// Different blocks that somebody holds and whose place is known.
    pub blocks: usize,
    /// What all workers hold, a block once for each worker, cache group and medium.
    pub residents: usize,
    /// Those of them that wait for their parent.
    pub orphans: usize,
    /// Those of them of which no event has said the tokens in a way that places them.
    pub unplaced: usize,
    /// Blocks of removed copies that are remembered.
    pub remembered: usize,
    /// Blocks dropped because a limit was reached.
    pub dropped: u64,
    /// Blocks that came in events which cannot be placed.
    pub unplaceable: u64,
    /// Removals of blocks that were not held.
    pub unknown_removals: u64,
    /// Bytes that the tables take, about, free places included; 0 where they are not counted.
    pub bytes: usize,
}

impl Sizes for llmd_stats {
    const NAME: &'static str = "llmd_stats";
    const SIZES: &'static [usize] = &[offset_of!(Self, bytes), size_of::<Self>()];
}

/// How much the index holds, and what it could not take. Set `stats->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_stats(
    index: Option<&llmd_index>,
    stats: *mut llmd_stats,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let feed = &given(index, "index")?.feed;
        let tell = |struct_size| {
            let now = feed.stats();
            Ok(llmd_stats {
                struct_size,
                workers: now.workers,
                blocks: now.blocks,
                residents: now.held.residents,
                orphans: now.held.orphans,
                unplaced: now.held.unplaced,
                remembered: now.remembered,
                dropped: now.dropped,
                unplaceable: now.unplaceable,
                unknown_removals: now.unknown_removals,
                bytes: now.bytes,
            })
        };
        // SAFETY: as llmd.h says.
        unsafe { answer(stats, tell) }
    })
}
