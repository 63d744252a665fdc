//! What goes is remembered, and what went long ago is forgotten.

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::super::super::BlockFate;
use super::super::super::span::{Domain, SHARED};
use super::super::context::Context;
use super::super::memory::{Gone, Memory, Prefix};
use super::Worker;

/// A worker's memory while it is told what goes. Others cannot look at it meanwhile.
pub(super) struct Telling<'a> {
    memory: MutexGuard<'a, Memory>,
    most: usize,
    /// Whether there are names without a place, of which those that are forgotten are to be known.
    has_loose: bool,
    forgotten: Forgotten,
}

/// What there was no room for any longer.
#[derive(Default)]
pub(super) struct Forgotten {
    is_any: bool,
    /// Those whose names may stand somewhere else than beside a block of the index.
    named: SmallVec<[Gone; 1]>,
}

impl Telling<'_> {
    /// Remembers a block that is gone, and forgets the oldest.
    #[inline]
    pub(super) fn tell(&mut self, gone: Gone) {
        self.memory.remember(gone);
        if self.memory.len() > self.most {
            self.forgotten.is_any = true;
            // Most names mean nothing beside the index: only the others have to be looked for.
            self.forgotten.named.extend(self.memory.forget_oldest(|domain| domain != SHARED || self.has_loose));
        }
    }

    pub(super) fn done(self) -> Forgotten {
        self.forgotten
    }
}

impl Worker {
    /// Begins to tell the memory what goes; [`forget`](Self::forget) is for what comes of it.
    pub(super) fn telling<'a>(memory: &'a Mutex<Memory>, has_loose: bool, cx: &Context<'_>) -> Telling<'a> {
        let (memory, most) = (memory.lock(), cx.settings.max_remembered);
        Telling { memory, most, has_loose, forgotten: Forgotten::default() }
    }

    /// Remembers blocks that are gone.
    pub(in super::super) fn remember(&mut self, gone: impl IntoIterator<Item = Gone>, cx: &mut Context<'_>) {
        let mut telling = Self::telling(&self.memory, !self.loose.is_empty(), cx);
        gone.into_iter().for_each(|gone| telling.tell(gone));
        let forgotten = telling.done();
        self.forget(forgotten, cx);
    }

    /// Names that were forgotten mean nothing any longer.
    pub(super) fn forget(&mut self, forgotten: Forgotten, cx: &mut Context<'_>) {
        self.forgot |= forgotten.is_any;
        for gone in forgotten.named {
            if gone.domain != SHARED {
                cx.span.forget(&self.namer, gone.domain, gone.name);
            }
            if !self.loose.is_empty() && gone.name != 0 {
                let name = cx.interned.name(gone.name);
                self.loose.forget(&name);
            }
        }
    }

    /// A block of which the last copy under a name went from everywhere.
    #[inline]
    pub(super) fn gone(name: u64, domain: Domain, prefix: Option<Prefix>, fate: BlockFate, order: u64) -> Gone {
        Gone { name, domain, prefix, fate: prefix.map(|_| fate), order }
    }
}
