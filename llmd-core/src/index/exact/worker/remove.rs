//! Blocks go.

use smallvec::SmallVec;

use super::super::super::span::Removed;
use super::super::super::{Applied, BlockFate};
use super::super::context::Context;
use super::super::memory::Prefix;
use super::{Kept, Worker};
use crate::event::{BlockRemoved, KvEvent};
use crate::{ExternalBlockHash, GroupIdx, Locality, Medium};

/// How many names of several events are taken away in one go, or those of one event more: readers cannot ask meanwhile what
/// became of blocks.
const AT_ONCE: usize = 256;

/// How many events there are at the beginning that take blocks away as the first one does: these are worked on in one go.
pub(in super::super) fn at_once(events: &[KvEvent], first: &BlockRemoved) -> usize {
    let of = |removed: &BlockRemoved| (removed.group_idx, removed.medium, removed.locality);
    let mut names = 0;
    let alike = events.iter().take_while(|event| {
        let KvEvent::BlockRemoved(removed) = event else { return false };
        let has_room = names < AT_ONCE;
        names += removed.block_hashes.len();
        has_room && of(removed) == of(first)
    });
    alike.count()
}

/// The names of blocks that go.
fn names(events: &[KvEvent]) -> impl Iterator<Item = &ExternalBlockHash> {
    events.iter().flat_map(|event| match event {
        KvEvent::BlockRemoved(removed) => &removed.block_hashes[..],
        _ => &[],
    })
}

impl Worker {
    /// Takes away what events say of which [`at_once`] tells.
    pub(in super::super) fn remove(&mut self, events: &[KvEvent], cx: &mut Context<'_>, applied: &mut Applied) {
        let Some(KvEvent::BlockRemoved(first)) = events.first() else { return };
        if first.medium == Medium::Storage && first.locality == Locality::Remote {
            self.remove_from_pool(names(events), first.group_idx, cx, applied);
            return;
        }
        let order = cx.next_order();
        if events.len() == 1
            && let [name] = &first.block_hashes[..]
            && self.remove_last(name, first, order, cx)
        {
            applied.removed += 1;
            return;
        }
        let mut scratch = std::mem::take(cx.scratch);
        scratch.names.clear();
        scratch.names.extend(names(events).map(|name| cx.interned.number(name)));
        let unknown = self.remove_named(&scratch.names, first, order, cx, applied);
        *cx.scratch = scratch;
        let mut unknown = unknown.into_iter().peekable();
        for (nth, name) in names(events).enumerate() {
            if unknown.peek().is_none() {
                break;
            }
            if unknown.next_if_eq(&nth).is_some() {
                self.remove_loose(name, first.group_idx, first.medium, order, cx, applied);
            }
        }
    }

    /// Takes names out of the columns of a group on a medium; gives those that none of them has, in order.
    fn remove_named(
        &mut self,
        names: &[u64],
        first: &BlockRemoved,
        order: u64,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) -> SmallVec<[usize; 4]> {
        let is_it = |kept: &Kept| kept.group == first.group_idx && kept.medium == first.medium;
        let mut columns =
            (0..self.columns.len()).filter(|&nth| is_it(&self.columns[nth])).collect::<SmallVec<[_; 2]>>();
        if columns.is_empty() {
            return (0..names.len()).collect();
        }
        let mut unknown = self.remove_from(columns.remove(0), names, order, cx, applied);
        for column in columns {
            if unknown.is_empty() {
                break;
            }
            let left: SmallVec<[u64; 4]> = unknown.iter().map(|&nth| names[nth]).collect();
            let still = self.remove_from(column, &left, order, cx, applied);
            unknown = still.into_iter().map(|nth| unknown[nth]).collect();
        }
        unknown
    }

    /// The usual case: one name, of the last block of what a worker with one column holds of a prompt. Says whether it was that.
    #[inline]
    fn remove_last(
        &mut self,
        name: &ExternalBlockHash,
        removed: &BlockRemoved,
        order: u64,
        cx: &mut Context<'_>,
    ) -> bool {
        let [kept] = &mut self.columns[..] else { return false };
        if kept.group != removed.group_idx || kept.medium != removed.medium || kept.span != 1 {
            return false;
        }
        let number = cx.interned.number(name);
        let Some(gone) = cx.span.remove_last(kept.column, &self.namer, number, &mut kept.went) else { return false };
        kept.copies -= 1;
        kept.names -= 1;
        self.residents -= 1;
        let Removed { name, domain, digest, before, depth, .. } = gone;
        let prefix = Some(Prefix { digest, before, depth });
        self.remember([Self::gone(name, domain, prefix, BlockFate::Evicted { at: cx.at }, order)], cx);
        true
    }

    /// Takes names out of a column; gives those that it does not have, in order.
    fn remove_from(
        &mut self,
        kept: usize,
        names: &[u64],
        order: u64,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) -> SmallVec<[usize; 4]> {
        let Kept { column, span, mut went, .. } = self.columns[kept];
        let fate = BlockFate::Evicted { at: cx.at };
        let mut unknown = SmallVec::new();
        let mut telling = Self::telling(&self.memory, !self.loose.is_empty(), cx);
        let (copies, last) = cx.span.remove(
            column,
            &self.namer,
            span,
            |name| self.covers.of(name),
            names,
            &mut went,
            |nth| unknown.push(nth),
            |Removed { name, domain, digest, before, depth, is_beside }| {
                let mut one = Self::gone(name, domain, Some(Prefix { digest, before, depth }), fate, order);
                one.fate = one.fate.filter(|_| !is_beside);
                telling.tell(one);
            },
        );
        let forgotten = telling.done();
        self.forget(forgotten, cx);
        let kept = &mut self.columns[kept];
        kept.went = went;
        kept.copies -= copies;
        kept.names -= last;
        self.residents -= last;
        applied.removed += copies;
        unknown
    }

    /// Takes away one copy of a name that has no place, if there is one.
    fn remove_loose(
        &mut self,
        name: &ExternalBlockHash,
        group: GroupIdx,
        medium: Medium,
        order: u64,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) {
        let is_known = self.loose.get(name).is_some();
        let last = if is_known { self.loose.change(name, |entry| entry.remove(group, medium)) } else { None };
        let Some(is_last) = last else {
            match self.dropped.checked_sub(1) {
                Some(left) => self.dropped = left,
                None => applied.unknown_removals += 1,
            }
            return;
        };
        applied.removed += 1;
        self.residents -= usize::from(is_last);
        if self.loose.get(name).is_some_and(|entry| entry.copies.is_empty()) {
            let number = cx.interned.keep(name);
            self.remember([Self::gone(number, 0, None, BlockFate::NeverStored, order)], cx);
        }
    }
}
