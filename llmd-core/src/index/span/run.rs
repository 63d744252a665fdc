//! A run: blocks that follow each other, and who holds which part of them.
//!
//! Its header is one cache line, which readers read whole: they look at its version before and after, and look again when
//! the writer was at work meanwhile.
//!
//! Orderings, by C++11's rules, as H.-J. Boehm has shown for such locks (2012): a reader that sees anything the writer stored
//! since [`Run::begin`] — in the header or in words that it led to, whoever has those words now — sees after its own fence in
//! [`Run::is_still`] the odd version that stands before the writer's fence, or a later one. What it loads in between may be
//! relaxed: loads that were torn are thrown away. A reader that sees an even version, which `finish` stores with release,
//! sees all that was stored before it. So what a run does not lead to yet may be written outside of a change, and what it
//! no longer leads to may be given away after one. `cargo xtask loom` tries this in every order;
//! without any of these fences and orderings it fails.

#![expect(unsafe_code, reason = "a header is a cell of stable memory")]

use super::memory::Cell;
use super::set::Set;
use super::sync::{AtomicU32, AtomicU64, Ordering, fence, spin_loop};

/// The header of a run, as it lies in memory.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub(super) struct Run {
    version: AtomicU32,
    len: AtomicU32,
    before: AtomicU64,
    head: AtomicU64,
    end: AtomicU64,
    whole_data: AtomicU64,
    whole_kind: AtomicU32,
    start: AtomicU32,
    digests: AtomicU32,
    groups: AtomicU32,
    list: AtomicU32,
}

// SAFETY: it is atomics and nothing else.
unsafe impl Cell for Run {
    #[cfg(loom)]
    fn zero() -> Self {
        Self::default()
    }
}

/// The header of a run, as it was at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Header {
    /// How many blocks come before its first one in their prompt.
    pub(super) start: u32,
    /// How many blocks it has; 0 when it is not in use.
    pub(super) len: u32,
    /// The digest before its first block.
    pub(super) before: u64,
    /// The digest of its first block.
    pub(super) head: u64,
    /// The digest of its last block.
    pub(super) end: u64,
    /// The columns that hold all of it.
    pub(super) whole: Set,
    /// Where the digests of its blocks are.
    pub(super) digests: u32,
    /// How many groups of columns hold a part of it.
    pub(super) groups: u32,
    /// Where these groups are.
    pub(super) list: u32,
}

impl Run {
    /// The header and its version, for a reader. Looks again while the writer is at work.
    #[inline]
    pub(super) fn read(&self) -> (u32, Header) {
        loop {
            let version = self.version.load(Ordering::Acquire);
            if version & 1 == 0 {
                return (version, self.peek());
            }
            spin_loop();
        }
    }

    /// Whether nothing that was read since [`read`](Self::read) gave this version was changed meanwhile.
    #[inline]
    pub(super) fn is_still(&self, version: u32) -> bool {
        fence(Ordering::Acquire);
        self.version.load(Ordering::Relaxed) == version
    }

    /// The header, for the writer.
    #[inline]
    pub(super) fn peek(&self) -> Header {
        Header {
            start: self.start.load(Ordering::Relaxed),
            len: self.len.load(Ordering::Relaxed),
            before: self.before.load(Ordering::Relaxed),
            head: self.head.load(Ordering::Relaxed),
            end: self.end.load(Ordering::Relaxed),
            whole: Set::from_parts(self.whole_kind.load(Ordering::Relaxed), self.whole_data.load(Ordering::Relaxed)),
            digests: self.digests.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            list: self.list.load(Ordering::Relaxed),
        }
    }

    /// Where the digests of its blocks are, for the writer: often all that it wants to know.
    #[inline]
    pub(super) fn digests(&self) -> u32 {
        self.digests.load(Ordering::Relaxed)
    }

    /// The writer begins to change the run or what it leads to: until [`finish`](Self::finish), readers wait.
    #[inline]
    pub(super) fn begin(&self) {
        let version = self.version.load(Ordering::Relaxed);
        debug_assert_eq!(version & 1, 0, "one change at a time");
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
    }

    /// The header is now this, and readers may go on.
    #[inline]
    pub(super) fn finish(&self, header: &Header) {
        let (kind, data) = header.whole.parts();
        self.start.store(header.start, Ordering::Relaxed);
        self.len.store(header.len, Ordering::Relaxed);
        self.before.store(header.before, Ordering::Relaxed);
        self.head.store(header.head, Ordering::Relaxed);
        self.end.store(header.end, Ordering::Relaxed);
        self.whole_kind.store(kind, Ordering::Relaxed);
        self.whole_data.store(data, Ordering::Relaxed);
        self.digests.store(header.digests, Ordering::Relaxed);
        self.groups.store(header.groups, Ordering::Relaxed);
        self.list.store(header.list, Ordering::Relaxed);
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Release);
    }

    /// The writer will never end what it is at: what it left half changed is no longer in use. Nobody else may write.
    pub(super) fn give_up(&self) {
        if self.version.load(Ordering::Relaxed) & 1 == 1 {
            self.finish(&Header::default());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::memory::Stable;
    use super::*;

    #[test]
    fn what_a_writer_that_is_gone_left_half_done_is_not_in_use() {
        let runs = Stable::<Run>::new();
        runs.reserve(0, 2);
        let [done, begun] = [runs.at(0), runs.at(1)];
        let header = Header { len: 3, head: 7, ..Header::default() };
        for run in [done, begun] {
            run.begin();
            run.finish(&header);
        }
        begun.begin();
        runs.all().for_each(Run::give_up);
        assert_eq!(done.read(), (2, header));
        assert_eq!(begun.read(), (4, Header::default()));
    }
}
