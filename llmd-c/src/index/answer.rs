//! What a query answers with: who holds how much, as structs or as numbers.
#![expect(unsafe_code, reason = "answers are written through the caller's pointers")]

use std::cell::RefCell;
use std::ffi::c_char;
use std::slice;

use llmd_core::hash::{Chain, Namespace};
use llmd_core::index::{ExactReader, Overlap, PrefixIndex as _, WorkerOverlap};
use llmd_core::{Medium, Result, TokenId, WorkerId};

use super::llmd_index;
use crate::boundary::{invalid, null};
use crate::filled::fill;
use crate::given::items;

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
    /// Leading blocks that lie on any medium, or on the storage that all workers share.
    pub leading: u32,
    /// Leading blocks that lie on each of the worker's own media, by llmd_medium.
    pub on: [u32; LLMD_MEDIA],
    /// Leading blocks that lie on the storage that all workers share: the same for all of them.
    pub shared: u32,
}

impl llmd_overlap {
    pub(super) const fn new(name: *const c_char, overlap: &WorkerOverlap) -> Self {
        const { assert!(Medium::ALL.len() <= LLMD_MEDIA, "every medium has a place") }
        let mut on = [0; LLMD_MEDIA];
        let mut place = 0;
        while place < overlap.leading_by_medium.len() {
            on[place] = overlap.leading_by_medium[place];
            place += 1;
        }
        Self { name, worker: overlap.worker.0, leading: overlap.leading, on, shared: overlap.shared }
    }
}

/// What a query of a thread makes, whose room the next one takes.
#[derive(Default)]
pub(super) struct Answer {
    chain: Chain,
    pub(super) overlap: Overlap,
    found: Vec<WorkerOverlap>,
}

thread_local! {
    static ANSWER: RefCell<Answer> = RefCell::default();
}

/// Asks about a prompt.
pub(super) fn ask<T>(
    reader: &ExactReader,
    tokens: &[TokenId],
    namespace: &Namespace,
    then: impl FnOnce(&mut Answer) -> T,
) -> T {
    ANSWER.with_borrow_mut(|answer| {
        reader.hasher().chain_into(tokens, namespace, &mut answer.chain);
        reader.query_into(&answer.chain, &mut answer.overlap);
        then(answer)
    })
}

/// Asks about a prompt that is hashed already.
pub(super) fn ask_chain<T>(reader: &ExactReader, chain: &Chain, then: impl FnOnce(&mut Answer) -> T) -> T {
    ANSWER.with_borrow_mut(|answer| {
        reader.query_into(chain, &mut answer.overlap);
        then(answer)
    })
}

impl Answer {
    /// Writes who holds something to an array of the caller's.
    ///
    /// # Safety
    ///
    /// As for [`fill`].
    pub(super) unsafe fn tell(
        &mut self,
        index: &llmd_index,
        out: *mut llmd_overlap,
        len: Option<&mut usize>,
    ) -> Result<()> {
        self.found.clear();
        self.found.extend(&self.overlap);
        let told = self.found.iter().map(|held| llmd_overlap::new(index.names.get(&index.feed, held.worker), held));
        // SAFETY: the caller's promise is the same.
        unsafe { fill(out, len, told, "overlaps") }
    }
}

/// The workers at `workers`, and room for as many numbers at `leading`.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) as for [`items`], for both.
///
/// # Safety
///
/// Both are NULL, or point to `len` numbers that stay as they are, and that nobody else looks at, for `'a`.
pub(super) unsafe fn dense<'a>(
    workers: *const u32,
    len: usize,
    leading: *mut u32,
) -> Result<(&'a [u32], &'a mut [u32])> {
    // SAFETY: the caller's promise is the same.
    let workers = unsafe { items(workers, len, "workers") }?;
    if len == 0 {
        return Ok((workers, &mut []));
    }
    if leading.is_null() {
        return Err(null("leading"));
    }
    if !leading.is_aligned() {
        return Err(invalid(format!("leading is not aligned to {} bytes", align_of::<u32>())));
    }
    // SAFETY: by the caller's promise there are as many as of `workers`, whose length was looked at.
    Ok((workers, unsafe { slice::from_raw_parts_mut(leading, len) }))
}

/// Writes how many leading blocks each worker holds.
pub(super) fn tell_dense(overlap: &Overlap, workers: &[u32], leading: &mut [u32]) {
    for (&worker, leading) in workers.iter().zip(leading) {
        *leading = overlap.leading(WorkerId(worker));
    }
}
