//! Blocks come.

use std::collections::HashSet;

use super::super::super::Applied;
use super::super::super::groups::{Group, Kind};
use super::super::super::span::{At, Batch, Known, SHARED, Stored};
use super::super::content::{Told, alone, names_of, parent_of, told};
use super::super::context::Context;
use super::super::evicting::is_crowded;
use super::super::memory::{Gone, Prefix};
use super::place::Standing;
use super::{MAX_GROUPS, Worker};
use crate::event::BlockStored;
use crate::{BlockHash, ExternalBlockHash, GroupIdx, Locality, Medium};

/// Where the copies of an event belong.
#[derive(Clone, Copy, Debug)]
struct Into {
    group: GroupIdx,
    medium: Medium,
    /// How many blocks each name covers, where the event says so.
    span: Option<u32>,
}

impl Worker {
    pub(in super::super) fn store(&mut self, stored: &BlockStored, cx: &mut Context<'_>, applied: &mut Applied) {
        if self.covers.is_crowded() {
            self.forget_what_names_cover(cx);
        }
        self.spoke_of_other_media |= stored.medium != Medium::Gpu && !stored.block_hashes.is_empty();
        if is_crowded(cx.span.blocks(), cx.settings.max_blocks_in_all) {
            self.dropped += stored.block_hashes.len();
            self.incomplete = true;
            applied.dropped += stored.block_hashes.len();
            return;
        }
        let mut content = None;
        let mut span = None;
        match told(stored, cx.settings.block_size) {
            Told::Content(kind, covers) => match self.learn(stored, kind, covers) {
                true if kind == Kind::Full => {
                    (content, span) = (Some(covers), Some(covers));
                    if !stored.block_hashes.is_empty() {
                        self.covers.hear(covers);
                    }
                }
                true => span = Some(1),
                false => self.cannot_place(stored, cx),
            },
            Told::Names => {}
            Told::Nothing => self.cannot_place(stored, cx),
        }
        if content.is_some() {
            cx.namespaces.learn(stored, cx.hasher);
        }
        if stored.medium == Medium::Storage && stored.locality == Locality::Remote {
            self.store_in_pool(stored, content, cx, applied);
            return;
        }
        let into = Into { group: stored.group_idx, medium: stored.medium, span };
        if let Some(span) = content
            && self.store_at_once(stored, span, into, cx, applied)
        {
            return;
        }
        for name in 0..stored.block_hashes.len() {
            self.store_one(stored, name, content, into, cx, applied);
        }
    }

    fn cannot_place(&mut self, stored: &BlockStored, cx: &Context<'_>) {
        if !(stored.block_size as usize).is_multiple_of(cx.settings.block_size) {
            self.other_size = Some(stored.block_size);
        }
        self.unplaceable += stored.block_hashes.len() as u64;
        self.incomplete = true;
    }

    /// Learns of which kind a group is and how many blocks its names cover; says whether that agrees with what is known.
    fn learn(&mut self, stored: &BlockStored, kind: Kind, span: u32) -> bool {
        let place = match self.groups.binary_search_by_key(&stored.group_idx, |(idx, _)| *idx) {
            Ok(place) => place,
            Err(_) if self.groups.len() == MAX_GROUPS => return false,
            Err(place) => {
                self.groups.insert(place, (stored.group_idx, Group::new(kind)));
                self.is_news = true;
                place
            }
        };
        let group = &mut self.groups[place].1;
        if group.kind != kind {
            return false;
        }
        if stored.medium == Medium::Gpu {
            self.is_news |= group.add_span(span);
        }
        true
    }

    /// The usual case: the parent is known, and nobody waits for any of the names. Says whether it was that.
    fn store_at_once(
        &mut self,
        stored: &BlockStored,
        span: u32,
        into: Into,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) -> bool {
        let names = stored.block_hashes.len();
        let is_loose = |name| self.loose.get(name).is_some() || self.waiting.contains(name);
        let waits = !(self.loose.is_empty() && self.waiting.is_empty()) && stored.block_hashes.iter().any(is_loose);
        if waits || self.residents + names > cx.settings.max_blocks {
            return false;
        }
        let Some(at) = self.parent(stored, 0, cx) else { return false };
        let Some(kept) = self.column(into.group, into.medium, span, cx) else { return false };
        let mut scratch = std::mem::take(cx.scratch);
        scratch.digests.clear();
        scratch.names.clear();
        names_of(stored, 0, BlockHash(at.before), at.depth, cx.hasher, &mut scratch.digests);
        scratch.names.extend(stored.block_hashes.iter().map(|name| cx.interned.keep(name)));
        self.covers.learn(&scratch.names, span);
        let batch = Batch { digests: &scratch.digests, names: &scratch.names, span };
        let column = self.columns[kept].column;
        let done = cx.span.store(column, &mut self.namer, at, batch);
        *cx.scratch = scratch;
        self.count(kept, done, applied);
        if !self.orphans.is_empty() {
            self.settle_behind(stored, cx, applied);
        }
        true
    }

    /// Puts what waited for any of the blocks of an event at its place.
    fn settle_behind(&mut self, stored: &BlockStored, cx: &mut Context<'_>, applied: &mut Applied) {
        for name in &stored.block_hashes {
            if let Some(at) = self.stands(name, cx).map(|standing| standing.at()) {
                self.settle_all_behind(name, at, cx, applied);
            }
        }
    }

    /// Puts what waited for a block at its place.
    pub(super) fn settle_all_behind(
        &mut self,
        name: &ExternalBlockHash,
        at: At,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) {
        for orphan in self.orphans.take(name) {
            let span = orphan.block_size / cx.settings.block_size as u32;
            self.settle(&orphan, 0, span, at, cx, applied);
        }
    }

    /// Counts what was stored in a column.
    fn count(&mut self, kept: usize, stored: Stored, applied: &mut Applied) {
        let Stored { fresh, again, lost, .. } = stored;
        self.columns[kept].names += fresh;
        self.columns[kept].copies += fresh + again;
        self.residents += fresh;
        self.has_two_names |= stored.second_name;
        applied.stored += fresh + again;
        applied.dropped += lost;
        self.incomplete |= lost > 0;
    }

    /// Remembers the blocks before a name's own that it covers, and that nobody holds.
    fn remember_covered(&mut self, at: At, digests: &[BlockHash], cx: &mut Context<'_>) {
        let mut before = at.before;
        let prefixes = (at.depth + 1..).zip(digests).map(|(depth, digest)| {
            let prefix = Prefix { digest: digest.0, before, depth };
            before = digest.0;
            prefix
        });
        let gone: Vec<_> = prefixes
            .map(|prefix| Gone { name: 0, domain: SHARED, prefix: Some(prefix), fate: None, order: 0 })
            .collect();
        self.remember(gone, cx);
    }

    /// Where the blocks of an event go on from its name number `name`; `None` when the parent has no place.
    pub(super) fn parent(&self, stored: &BlockStored, name: usize, cx: &Context<'_>) -> Option<At> {
        match parent_of(stored, name) {
            None => Some(At { place: None, before: cx.hasher.root().0, depth: 0 }),
            Some(parent) => self.stands(parent, cx).map(|standing| standing.at()),
        }
    }

    /// Any case: one name of an event, whose blocks may stand somewhere already, or nowhere yet.
    fn store_one(
        &mut self,
        stored: &BlockStored,
        nth: usize,
        content: Option<u32>,
        into: Into,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) {
        let name = &stored.block_hashes[nth];
        if let Some(standing) = self.stands(name, cx) {
            let path = match content {
                Some(span) if standing.known.is_none() || span > 1 => self.path(stored, nth, cx),
                _ => None,
            };
            self.add(name, &standing, path, into, cx, applied);
            return;
        }
        let is_known = self.loose.get(name).is_some_and(|entry| {
            entry.copies.iter().any(|copies| copies.group == into.group && copies.medium == into.medium)
        });
        if !is_known && self.residents >= cx.settings.max_blocks {
            self.incomplete = true;
            applied.dropped += 1;
            return;
        }
        let waits = self.loose.get(name).is_some_and(|entry| entry.waits);
        if let Some(span) = content
            && !waits
            && let Some(at) = self.parent(stored, nth, cx)
        {
            self.residents += usize::from(self.loose.change(name, |entry| entry.add(into.group, into.medium)));
            applied.stored += 1;
            self.settle(stored, nth, span, at, cx, applied);
            return;
        }
        self.residents += usize::from(self.loose.change(name, |entry| entry.add(into.group, into.medium)));
        applied.stored += 1;
        if content.is_some() && !waits {
            self.wait(stored, nth, cx, applied);
        }
    }

    /// Keeps what an event says of a name until its parent has a place.
    pub(super) fn wait(&mut self, stored: &BlockStored, nth: usize, cx: &Context<'_>, applied: &mut Applied) {
        let parent = parent_of(stored, nth).expect("what has no parent stands at the beginning");
        self.loose.change(&stored.block_hashes[nth], |entry| entry.waits = true);
        self.orphans.keep(parent.clone(), alone(stored, nth, parent));
        applied.orphaned += 1;
        while self.orphans.len() > cx.settings.max_orphans {
            let Some(dropped) = self.orphans.take_oldest() else { break };
            let name = &dropped.block_hashes[0];
            self.loose.change(name, |entry| entry.waits = false);
            self.loose.forget(name);
            applied.dropped += 1;
        }
    }

    /// The blocks that a name of an event covers, and where they go on; `None` when the parent has no place.
    fn path(&self, stored: &BlockStored, nth: usize, cx: &Context<'_>) -> Option<(At, Vec<BlockHash>)> {
        let at = self.parent(stored, nth, cx)?;
        let mut digests = Vec::new();
        names_of(&alone_or(stored, nth), 0, BlockHash(at.before), at.depth, cx.hasher, &mut digests);
        Some((at, digests))
    }

    /// One copy more of a name that stands somewhere; `path` is where, when it is said again.
    fn add(
        &mut self,
        name: &ExternalBlockHash,
        standing: &Standing,
        path: Option<(At, Vec<BlockHash>)>,
        into: Into,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) {
        let number = cx.interned.keep(name);
        let span = into.span.unwrap_or_else(|| self.span_of(number, into.group));
        let is_full = self.residents >= cx.settings.max_blocks;
        let has = |kept: &super::Kept| {
            kept.group == into.group
                && kept.medium == into.medium
                && kept.span == span
                && standing.known.is_some_and(|known| cx.span.copies_under(&self.namer, kept.column, known) > 0)
        };
        if is_full && !self.columns.iter().any(has) {
            self.incomplete = true;
            applied.dropped += 1;
            return;
        }
        let Some(kept) = self.column(into.group, into.medium, span, cx) else {
            self.incomplete = true;
            applied.dropped += 1;
            return;
        };
        match path.filter(|(_, digests)| digests.last() == Some(&BlockHash(standing.prefix.digest))) {
            Some((at, digests)) => {
                let batch = Batch { digests: &digests, names: &[number], span };
                let done = cx.span.store(self.columns[kept].column, &mut self.namer, at, batch);
                self.count(kept, done, applied);
            }
            None => self.put(kept, number, standing, cx, applied),
        }
    }

    /// Puts one copy of a name where it stands.
    fn put(&mut self, kept: usize, number: u64, standing: &Standing, cx: &mut Context<'_>, applied: &mut Applied) {
        let super::Kept { group, medium, column, span, .. } = self.columns[kept];
        let whole = |known: &Known| span == 1 || cx.span.covered(known.place, span).count() == span as usize;
        if let Some(known) = standing.known.filter(whole) {
            let done = cx.span.hold_known(column, &mut self.namer, known.place, span, number);
            return self.count(kept, done, applied);
        }
        let (at, digests) = self.path_to(standing.prefix, span, cx);
        let found = digests.len() as u32;
        self.incomplete |= found < span;
        // Where some of them are not known any more, it covers fewer.
        let Some(kept) = self.column(group, medium, found, cx) else {
            applied.dropped += 1;
            return;
        };
        let batch = Batch { digests: &digests, names: &[number], span: found };
        let done = cx.span.store(self.columns[kept].column, &mut self.namer, at, batch);
        self.count(kept, done, applied);
    }

    /// How many blocks a name covers for a group, where an event does not say so. For groups that are not full, or not
    /// known, only the last one counts.
    fn span_of(&self, name: u64, group: GroupIdx) -> u32 {
        if self.is_full(group) { self.covers.of(name) } else { 1 }
    }

    /// Names that are neither held nor remembered need not be known.
    fn forget_what_names_cover(&mut self, cx: &Context<'_>) {
        let remembered: HashSet<u64> = self.memory.lock().iter().map(|gone| gone.name).collect();
        let is_known = |name| cx.span.find(&self.namer, name).is_some() || remembered.contains(&name);
        self.covers.retain(is_known);
    }

    /// Puts a name of an event at its place, and then all that waited for it, one after the other.
    fn settle(
        &mut self,
        stored: &BlockStored,
        nth: usize,
        span: u32,
        at: At,
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) {
        let mut ready = vec![(alone_or(stored, nth), span, at)];
        while let Some((event, span, at)) = ready.pop() {
            let name = event.block_hashes[0].clone();
            let mut digests = Vec::new();
            names_of(&event, 0, BlockHash(at.before), at.depth, cx.hasher, &mut digests);
            let standing = self.take_place(&name, span, at, &digests, cx, applied);
            let next = standing.at();
            for orphan in self.orphans.take(&name) {
                let span = orphan.block_size / cx.settings.block_size as u32;
                ready.push((orphan, span, next));
            }
        }
    }

    /// A name has these blocks, and its copies go there.
    pub(super) fn take_place(
        &mut self,
        name: &ExternalBlockHash,
        span: u32,
        at: At,
        digests: &[BlockHash],
        cx: &mut Context<'_>,
        applied: &mut Applied,
    ) -> Standing {
        let mut entry = self.loose.take(name).unwrap_or_default();
        // Who holds all that the name covers comes first: the others hold its last block alone.
        entry.copies.sort_by_key(|copies| !self.is_full(copies.group));
        let number = cx.interned.keep(name);
        self.covers.learn(&[number], span);
        let last = digests.len() - 1;
        let before = if last == 0 { at.before } else { digests[last - 1].0 };
        let prefix_of = Prefix { digest: digests[last].0, before, depth: at.depth + digests.len() as u32 };
        let mut standing = Standing { known: None, prefix: prefix_of };
        for copies in &entry.copies {
            let covers = if self.is_full(copies.group) { span } else { 1 };
            self.residents -= 1;
            let Some(kept) = self.column(copies.group, copies.medium, covers, cx) else {
                self.incomplete = true;
                applied.dropped += 1;
                continue;
            };
            let column = self.columns[kept].column;
            for _ in 0..copies.count {
                let done = match standing.known {
                    Some(known) => cx.span.hold_known(column, &mut self.namer, known.place, covers, number),
                    None if covers == 1 && span > 1 => match cx.span.search(prefix_of.digest, prefix_of.depth) {
                        Some(place) => cx.span.hold_known(column, &mut self.namer, place, 1, number),
                        None => {
                            let place = cx.span.search(before, prefix_of.depth - 1);
                            let at = At { place, before, depth: prefix_of.depth - 1 };
                            let batch = Batch { digests: &digests[last..], names: &[number], span: 1 };
                            cx.span.store(column, &mut self.namer, at, batch)
                        }
                    },
                    None => cx.span.store(column, &mut self.namer, at, Batch { digests, names: &[number], span }),
                };
                let mut counted = Applied::default();
                self.count(kept, done, &mut counted);
                applied.dropped += counted.dropped;
                standing.known = cx.span.find(&self.namer, number);
            }
        }
        if self.waiting.remove(name) {
            self.pour_into_pool(number, at, digests, cx);
        }
        if entry.copies.is_empty() {
            self.memory.lock().place(number, prefix_of);
        }
        if !entry.copies.iter().any(|copies| self.is_full(copies.group)) {
            self.remember_covered(at, &digests[..last], cx);
        }
        if standing.known.is_none() {
            // Nobody may have it, but others may: what comes behind it must not stand in two places.
            let found = cx.span.search(prefix_of.digest, prefix_of.depth);
            standing.known = found.map(|place| Known { place, domain: SHARED });
        }
        standing
    }
}

/// One name of an event, as an event of its own.
fn alone_or(stored: &BlockStored, nth: usize) -> BlockStored {
    let first = ExternalBlockHash::from_int(0);
    let (parent, has_parent) = match nth {
        0 => (stored.parent_block_hash.as_ref().unwrap_or(&first), stored.parent_block_hash.is_some()),
        _ => (&stored.block_hashes[nth - 1], true),
    };
    let mut event = alone(stored, nth, parent);
    if !has_parent {
        event.parent_block_hash = None;
        event.cache_salt.clone_from(&stored.cache_salt);
    }
    event
}
