//! Asking an index who holds a prompt.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::cell::RefCell;
use std::ffi::c_char;
use std::mem::MaybeUninit;

use llmd_core::Medium;
use llmd_core::index::{Overlap, PrefixIndex as _, WorkerOverlap};

use super::llmd_index;
use crate::boundary::{boundary, delivered, given};
use crate::error::llmd_error;
use crate::filled::fill;
use crate::given::items;
use crate::namespace::{llmd_namespace, namespace};
use crate::status::llmd_status;
use crate::string::llmd_string;

/// How many media there is room for in `llmd_overlap.on`.
pub const LLMD_MEDIA: usize = 4;

/// How many leading blocks of a prompt one worker holds.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_overlap {
    /// The worker's name. Lives as long as the index. NULL when the worker has just been removed.
    pub name: *const c_char,
    /// The worker.
    pub worker: u32,
    /// Leading blocks that lie on any medium.
    pub leading: u32,
    /// Leading blocks that lie on each medium, by llmd_medium.
    pub on: [u32; LLMD_MEDIA],
}

impl llmd_overlap {
    const fn new(name: *const c_char, overlap: &WorkerOverlap) -> Self {
        const { assert!(Medium::ALL.len() <= LLMD_MEDIA, "every medium has a place") }
        let mut on = [0; LLMD_MEDIA];
        let mut place = 0;
        while place < overlap.leading_by_medium.len() {
            on[place] = overlap.leading_by_medium[place];
            place += 1;
        }
        Self { name, worker: overlap.worker.0, leading: overlap.leading, on }
    }
}

thread_local! {
    /// The answer of the last query of this thread, whose room the next one takes.
    static ANSWER: RefCell<Overlap> = RefCell::default();
}

/// Writes to `overlaps` how many leading blocks of the prompt each worker holds, by worker; one that holds none is left out.
/// `overlaps_len` says how many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing
/// else is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_query(
    index: Option<&llmd_index>,
    tokens: *const u32,
    tokens_len: usize,
    under: *const llmd_namespace,
    overlaps: *mut llmd_overlap,
    overlaps_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let llmd_index { feed, names } = given(index, "index")?;
        // SAFETY: as llmd.h says.
        let (tokens, namespace) = unsafe { (items(tokens, tokens_len, "tokens")?, namespace(under)?) };
        let chain = feed.reader().hasher().chain(tokens, &namespace);
        ANSWER.with_borrow_mut(|answer| {
            feed.reader().query_into(&chain, answer);
            let told = answer.iter().map(|overlap| llmd_overlap::new(names.get(feed, overlap.worker), &overlap));
            // SAFETY: as llmd.h says.
            unsafe { fill(overlaps, overlaps_len, told, "overlaps") }
        })
    })
}

/// Says in words where each worker's prefix of the prompt ends, and why; a line per worker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_explain(
    index: Option<&llmd_index>,
    tokens: *const u32,
    tokens_len: usize,
    under: *const llmd_namespace,
    explanation: Option<&mut MaybeUninit<Option<Box<llmd_string>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(explanation, "explanation", error, || {
        let feed = &given(index, "index")?.feed;
        // SAFETY: as llmd.h says.
        let (tokens, namespace) = unsafe { (items(tokens, tokens_len, "tokens")?, namespace(under)?) };
        let chain = feed.reader().hasher().chain(tokens, &namespace);
        let explanation = feed.reader().explain(&chain);
        Ok(llmd_string::new(explanation.named(|worker| feed.name(worker)).to_string()))
    })
}
