//! What lies on the storage that the pool shares: there or not, as the last word of anybody has it.

use super::super::super::Applied;
use super::super::super::span::{At, Column, Place};
use super::super::content::names_of;
use super::super::context::Context;
use super::super::memory::{Gone, Prefix};
use super::Worker;
use super::place::Standing;
use crate::event::BlockStored;
use crate::{BlockHash, ExternalBlockHash, GroupIdx};

impl Context<'_> {
    /// The pool's column for one who holds something; a new one, when there is none yet.
    fn pool_column(&mut self) -> Option<Column> {
        if self.pool.is_given_up {
            self.pool.is_missed = true;
        } else if self.pool.column.is_none() {
            self.pool.column = self.span.column(u32::MAX, true);
            self.pool.is_news = true;
            self.pool.namer.columns.extend(self.pool.column);
        }
        self.pool.column
    }
}

impl Worker {
    pub(super) fn store_in_pool(
        &mut self,
        stored: &BlockStored,
        content: Option<u32>,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) {
        if !stored.spec_kind.is_full() {
            return;
        }
        if cx.pool.is_given_up {
            cx.pool.is_missed |= !stored.block_hashes.is_empty();
            return;
        }
        for (nth, name) in stored.block_hashes.iter().enumerate() {
            if let Some(standing) = self.stands(name, cx) {
                let span = self.covers.of(cx.interned.number(name));
                applied.stored += usize::from(self.add_to_pool(&standing, span, cx));
                continue;
            }
            let waits = self.loose.get(name).is_some_and(|entry| entry.waits);
            if let Some(span) = content
                && !waits
            {
                if let Some(at) = self.parent(stored, nth, cx) {
                    let mut digests = Vec::new();
                    let mut event = stored.clone();
                    event.block_hashes.truncate(nth + 1);
                    names_of(&event, nth, BlockHash(at.before), at.depth, cx.hasher, &mut digests);
                    let number = cx.interned.keep(name);
                    applied.stored += usize::from(self.pour_into_pool(number, at, &digests, cx));
                    let next = self.take_place(name, span, at, &digests, cx, applied).at();
                    self.settle_all_behind(name, next, cx, applied);
                    continue;
                }
                self.wait(stored, nth, cx, applied);
            }
            if self.waiting.contains(name) {
                continue;
            }
            if self.waiting.len() < cx.settings.max_blocks {
                self.waiting.insert(name.clone());
                applied.stored += 1;
            } else {
                self.incomplete = true;
                applied.dropped += 1;
            }
        }
    }

    /// The pool holds what a name covers; says whether it did not before.
    pub(super) fn add_to_pool(&self, standing: &Standing, span: u32, cx: &mut Context<'_>) -> bool {
        let Some(column) = cx.pool_column() else { return false };
        let covered = placed(standing, span, cx);
        if covered.len() == span as usize {
            let is_new = covered.iter().any(|place| !cx.span.holds(place.run, column, place.off));
            covered.into_iter().for_each(|place| cx.span.hold_unnamed(column, place));
            return is_new;
        }
        let (at, digests) = self.path_to(standing.prefix, span, cx);
        cx.pool.is_missed |= digests.len() < span as usize;
        cx.span.store_unnamed(column, &mut cx.pool.namer, at, &digests)
    }

    /// The pool holds blocks that a name covers, which are about to get their place; says whether it did not hold them all.
    pub(super) fn pour_into_pool(&mut self, name: u64, at: At, digests: &[BlockHash], cx: &mut Context<'_>) -> bool {
        let Some(column) = cx.pool_column() else { return false };
        let is_new = cx.span.store_unnamed(column, &mut cx.pool.namer, at, digests);
        let last = digests.len() - 1;
        let before = if last == 0 { at.before } else { digests[last - 1].0 };
        let prefix = Prefix { digest: digests[last].0, before, depth: at.depth + digests.len() as u32 };
        // Nobody holds it under this name, but the name may be said again.
        let gone = Gone { name, domain: 0, prefix: Some(prefix), fate: None, order: 0 };
        self.remember([gone], cx);
        is_new
    }

    pub(super) fn remove_from_pool<'a>(
        &mut self,
        names: impl Iterator<Item = &'a ExternalBlockHash>,
        group: GroupIdx,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) {
        if self.is_sparse(group) {
            return;
        }
        for name in names {
            let gone = self.take_from_pool(name, cx);
            applied.removed += usize::from(self.waiting.remove(name) || gone);
        }
    }

    /// Says whether the pool held something of what a name covers.
    fn take_from_pool(&self, name: &ExternalBlockHash, cx: &mut Context<'_>) -> bool {
        let (Some(column), Some(standing)) = (cx.pool.column, self.stands(name, cx)) else { return false };
        let span = self.covers.of(cx.interned.number(name));
        let mut covered = placed(&standing, span, cx);
        if covered.len() < span as usize {
            let (at, digests) = self.path_to(standing.prefix, span, cx);
            let depths = at.depth + 1..;
            covered = depths.zip(digests).filter_map(|(depth, digest)| cx.span.search(digest.0, depth)).collect();
        }
        let held = |place: &Place| cx.span.holds(place.run, column, place.off);
        let covered: Vec<_> = covered.into_iter().filter(held).collect();
        covered.iter().for_each(|&place| cx.span.let_go_unnamed(column, place));
        covered.iter().for_each(|place| cx.span.settle(place.run));
        !covered.is_empty()
    }
}

/// The blocks that a name covers and that anybody holds, from its own one back.
fn placed(standing: &Standing, span: u32, cx: &Context<'_>) -> Vec<Place> {
    standing.known.map(|known| cx.span.covered(known.place, span).collect()).unwrap_or_default()
}
