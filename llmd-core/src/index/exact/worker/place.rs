//! Where a name stands.

use super::super::super::span::{At, Known, Place, SHARED};
use super::super::context::Context;
use super::super::memory::Prefix;
use super::Worker;
use crate::{BlockHash, ExternalBlockHash};

/// Where a name stands: in the index, or where it would if anybody held it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) known: Option<Known>,
    pub(super) prefix: Prefix,
}

impl Standing {
    /// What goes on behind it.
    pub(super) fn at(&self) -> At {
        At { place: self.known.map(|known| known.place), before: self.prefix.digest, depth: self.prefix.depth }
    }
}

pub(super) fn prefix(cx: &Context<'_>, place: Place) -> Prefix {
    let (digest, depth, before) = cx.span.prefix(place);
    Prefix { digest, before, depth }
}

impl Worker {
    /// Where this worker's name stands: one that it holds, or that is remembered.
    pub(super) fn stands(&self, name: &ExternalBlockHash, cx: &Context<'_>) -> Option<Standing> {
        self.stands_number(cx.interned.number(name), cx)
    }

    pub(super) fn stands_number(&self, number: u64, cx: &Context<'_>) -> Option<Standing> {
        let known = cx.span.find(&self.namer, number);
        if let Some(known) = known
            && (known.domain != SHARED || cx.span.has(&self.namer, known) || self.was_cleared(known, cx))
        {
            return Some(Standing { known: Some(known), prefix: prefix(cx, known.place) });
        }
        let remembered = self.memory.lock().find(number)?;
        let found = known.map(|known| known.place).filter(|&place| prefix(cx, place) == remembered);
        let found = found.or_else(|| cx.span.search(remembered.digest, remembered.depth));
        Some(Standing { known: found.map(|place| Known { place, domain: SHARED }), prefix: remembered })
    }

    /// The blocks up to one, as many of `span` as are held by anybody or remembered, and where they go on.
    pub(super) fn path_to(&self, last: Prefix, span: u32, cx: &Context<'_>) -> (At, Vec<BlockHash>) {
        let memory = self.memory.lock();
        let before = |after: &Prefix| {
            let depth = after.depth.checked_sub(1).filter(|&depth| depth > 0)?;
            let remembered = memory.find_digest(after.before).filter(|found| found.depth == depth);
            remembered.or_else(|| cx.span.search(after.before, depth).map(|place| prefix(cx, place)))
        };
        let path: Vec<_> = std::iter::successors(Some(last), before).take(span as usize).collect();
        let first = path.last().copied().unwrap_or(last);
        let place = if first.depth > 1 { cx.span.search(first.before, first.depth - 1) } else { None };
        let digests = path.iter().rev().map(|prefix| BlockHash(prefix.digest)).collect();
        (At { place, before: first.before, depth: first.depth - 1 }, digests)
    }

    /// Whether a name is of a block that went with all others, and is not swept yet.
    fn was_cleared(&self, known: Known, cx: &Context<'_>) -> bool {
        self.cleared
            .iter()
            .any(|&(column, _)| cx.names_after_clear(column) && cx.span.copies_under(&self.namer, column, known) > 0)
    }
}
