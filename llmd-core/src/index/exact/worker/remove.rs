//! Blocks go.

use smallvec::SmallVec;

use super::super::super::span::Removed;
use super::super::super::{Applied, BlockFate};
use super::super::context::Context;
use super::super::memory::Prefix;
use super::{MOST_GOING, Worker};
use crate::event::BlockRemoved;
use crate::{ExternalBlockHash, GroupIdx, Locality, Medium};

impl Worker {
    pub(in super::super) fn remove(&mut self, removed: &BlockRemoved, cx: &mut Context<'_>, applied: &mut Applied) {
        if removed.medium == Medium::Storage && removed.locality == Locality::Remote {
            self.remove_from_pool(removed, cx, applied);
            return;
        }
        let order = cx.next_order();
        if let [name] = &removed.block_hashes[..]
            && self.remove_last(name, removed, order, cx)
        {
            applied.removed += 1;
            return;
        }
        let mut unknown: SmallVec<[usize; 4]> = (0..removed.block_hashes.len()).collect();
        for kept in 0..self.columns.len() {
            let is_it = self.columns[kept].group == removed.group_idx && self.columns[kept].medium == removed.medium;
            if is_it && !unknown.is_empty() {
                unknown = self.remove_from(kept, removed, &unknown, order, cx, applied);
            }
        }
        for nth in unknown {
            self.remove_loose(&removed.block_hashes[nth], removed.group_idx, removed.medium, order, cx, applied);
        }
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
        self.going.push(Self::gone(name, domain, prefix, BlockFate::Evicted { at: cx.at }, order));
        if self.going.len() >= MOST_GOING {
            self.tell_memory(cx);
        }
        true
    }

    /// Takes names out of a column; gives those that it does not have.
    fn remove_from(
        &mut self,
        kept: usize,
        removed: &BlockRemoved,
        wanted: &[usize],
        order: u64,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) -> SmallVec<[usize; 4]> {
        let mut scratch = std::mem::take(cx.scratch);
        scratch.names.clear();
        scratch.names.extend(wanted.iter().map(|&nth| cx.interned.number(&removed.block_hashes[nth])));
        let super::Kept { column, span, mut went, .. } = self.columns[kept];
        let tells = self.covers.most().max(span);
        let fate = BlockFate::Evicted { at: cx.at };
        let mut unknown = SmallVec::new();
        let (copies, names) = cx.span.remove(
            column,
            &self.namer,
            (span, tells),
            &scratch.names,
            &mut went,
            |nth| unknown.push(wanted[nth]),
            |Removed { name, domain, digest, before, depth, is_beside }| {
                let mut one = Self::gone(name, domain, Some(Prefix { digest, before, depth }), fate, order);
                one.fate = one.fate.filter(|_| !is_beside);
                self.going.push(one);
            },
        );
        *cx.scratch = scratch;
        let kept = &mut self.columns[kept];
        kept.went = went;
        kept.copies -= copies;
        kept.names -= names;
        self.residents -= names;
        applied.removed += copies;
        if self.going.len() >= MOST_GOING {
            self.tell_memory(cx);
        }
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
