//! Blocks go: copy by copy, under the names that they came by.

use smallvec::SmallVec;

use super::cover::{Parts, without};
use super::name::{AHEAD, Known, Namer, SHARED};
use super::run::Header;
use super::{Column, Place, Span};

/// A name under which a worker holds nothing any longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Removed {
    pub(in super::super) name: u64,
    pub(in super::super) domain: u32,
    /// The digest of its block, the one before it, and how many blocks the prefix has. A name that covers several blocks is
    /// told of once for each, with 0 for the name where it is not its own block.
    pub(in super::super) digest: u64,
    pub(in super::super) before: u64,
    pub(in super::super) depth: u32,
    /// Whether the name covers it, but the column did not hold it, or the name is left in another column.
    pub(in super::super) is_beside: bool,
}

/// Where blocks stood: digest, depth, digest before.
type Stood = SmallVec<[(u64, u32, u64); 1]>;

/// Blocks of a run that are about to go together.
struct Pending {
    run: u32,
    from: u32,
    to: u32,
    parts: Parts,
}

impl Pending {
    fn holds(&self, off: u32) -> bool {
        self.parts.iter().any(|&(from, to)| from <= off && off < to)
    }
}

impl Span {
    /// One copy of each block less in a column. `unknown` is told of names that it has no copy under; `removed` of those of
    /// which the worker has no copy left in any column, and of what the others cover besides their own block. Gives how many
    /// copies went, and how many of them were the last in this column under their name. A name of the column covers `span`
    /// blocks; `removed` is told of as many as `tells` says of a name. `went` is where the last one stood, from call to call:
    /// the next often stands before it.
    #[expect(clippy::too_many_arguments, reason = "what goes, whose it is, and who is told of it")]
    pub(in super::super) fn remove(
        &mut self,
        column: Column,
        namer: &Namer,
        span: u32,
        tells: impl Fn(u64) -> u32,
        names: &[u64],
        went: &mut Option<Place>,
        mut unknown: impl FnMut(usize),
        mut removed: impl FnMut(Removed),
    ) -> (usize, usize) {
        let (mut copies, mut last) = (0, 0);
        let mut pending: Option<Pending> = None;
        if names.len() > 1 {
            names.iter().take(AHEAD).for_each(|&name| self.look_ahead(namer, name));
        }
        let mut next = 0;
        while let Some(&name) = names.get(next) {
            let nth = next;
            next += 1;
            // A name of a space of its own could be another block's shared one.
            let near = went.filter(|_| namer.domains.is_empty()).and_then(|went| self.find_before(went, name));
            if near.is_none()
                && let Some(&later) = names.get(nth + AHEAD)
            {
                self.look_ahead(namer, later);
            }
            let Some(known) = near.or_else(|| self.find(namer, name)) else {
                unknown(nth);
                continue;
            };
            let Place { run, off } = known.place;
            let is_simple = span == 1
                && known.domain == SHARED
                && !self.meta(run).has_copies
                && !self.meta(run).has_aliases
                && namer.columns.len() == 1;
            if is_simple {
                match &mut pending {
                    Some(group) if group.run == run && off + 1 == group.from && group.holds(off) => group.from = off,
                    Some(group) if group.run == run && off == group.to && group.holds(off) => group.to += 1,
                    _ => {
                        self.let_go(column, pending.take());
                        let parts = self.parts(run, column);
                        let group = Pending { run, from: off, to: off + 1, parts };
                        if self.run(run).peek().len == 0 || !group.holds(off) {
                            unknown(nth);
                            continue;
                        }
                        pending = Some(group);
                    }
                }
                // Engines evict a prompt from its end: most that follow stand before this one.
                let group = pending.as_mut().expect("it has at least this block");
                let more = match group.from == off && namer.domains.is_empty() {
                    true => self.standing_before(group, &names[next..]),
                    false => 0,
                };
                group.from -= more;
                for (name, off) in names[nth..].iter().zip((off - more..=off).rev()) {
                    let (digest, depth, before) = self.prefix(Place { run, off });
                    removed(Removed { name: *name, domain: SHARED, digest, before, depth, is_beside: false });
                }
                *went = Some(Place { run, off: off - more });
                next += more as usize;
                copies += 1 + more as usize;
                last += 1 + more as usize;
                continue;
            }
            self.let_go(column, pending.take());
            // What went may have been the block that the name was found at.
            let Some(known) = self.find(namer, name) else {
                unknown(nth);
                continue;
            };
            match self.remove_copy(column, namer, span, tells(name).max(span), known) {
                None => unknown(nth),
                Some((is_last, gone)) => {
                    copies += 1;
                    last += usize::from(is_last);
                    // Under a name that is left in another column, that one may hold its last block alone.
                    let is_left = self.has(namer, known);
                    let told = if is_left { 1..span as usize } else { 0..gone.len() };
                    for (nth, &(digest, depth, before)) in gone.iter().enumerate() {
                        if !told.contains(&nth) {
                            continue;
                        }
                        let name = if nth == 0 { name } else { 0 };
                        let is_beside = is_left || nth >= span as usize;
                        removed(Removed { name, domain: known.domain, digest, before, depth, is_beside });
                    }
                }
            }
            self.settle(known.place.run);
        }
        self.let_go(column, pending);
        (copies, last)
    }

    /// How many of these names are those of the blocks before a group, going back, that belong to the same part.
    #[inline]
    fn standing_before(&self, group: &Pending, names: &[u64]) -> u32 {
        let part = group.parts.iter().find(|&&(from, to)| from < group.from && group.from < to);
        let Some(&(from, _)) = part else { return 0 };
        let at = self.name_at(Place { run: group.run, off: 0 });
        let before = (from..group.from).rev().map(|off| self.view.word(at + off));
        before.zip(names).take_while(|&(there, &name)| there == name).count() as u32
    }

    /// The usual case of a name that goes alone; `None`, with nothing changed, when it is not that.
    #[inline]
    pub(in super::super) fn remove_last(
        &mut self,
        column: Column,
        namer: &Namer,
        name: u64,
        went: &mut Option<Place>,
    ) -> Option<Removed> {
        if !namer.domains.is_empty() || namer.columns.len() != 1 {
            return None;
        }
        let near = went.and_then(|went| self.find_before(went, name));
        let known = match near {
            Some(known) => known,
            None => Known { place: self.named(name)?, domain: SHARED },
        };
        let gone = self.pop(column, namer, known, name)?;
        *went = Some(known.place);
        Some(gone)
    }

    /// The block before one that went, if it has this name.
    #[inline]
    fn find_before(&self, went: Place, name: u64) -> Option<Known> {
        let off = went.off.checked_sub(1)?;
        let meta = self.meta(went.run);
        let header = self.run(went.run).peek();
        let is_it = off < header.len && !meta.has_aliases && self.view.word(header.digests + meta.room + off) == name;
        is_it.then_some(Known { place: Place { off, ..went }, domain: SHARED })
    }

    /// The usual case: the last block of a run that this column alone holds, and on which nothing hangs. `None`, with nothing
    /// changed, when it is not that.
    #[inline]
    fn pop(&mut self, column: Column, namer: &Namer, known: Known, name: u64) -> Option<Removed> {
        let Place { run, off } = known.place;
        let (header, meta) = (self.run(run).peek(), *self.meta(run));
        let is_last = off + 1 == header.len && header.whole.is_only(column) && header.groups == 0;
        let is_bare = meta.children == 0 && !meta.has_copies && !meta.has_aliases && known.domain == SHARED;
        if !is_last || !is_bare || off == 0 || self.is_wide[usize::from(column)] || namer.columns.len() != 1 {
            return None;
        }
        let end = self.view.word(header.digests + off - 1);
        self.run(run).begin();
        self.run(run).finish(&Header { len: off, end, ..header });
        let was_there = self.names.remove(name, known.place);
        debug_assert!(was_there, "a name that stands in a run leads there");
        self.gone_name(name);
        self.blocks -= 1;
        Some(Removed {
            name,
            domain: SHARED,
            digest: header.end,
            before: end,
            depth: header.start + off + 1,
            is_beside: false,
        })
    }

    /// Blocks that were found to be held are not any more.
    fn let_go(&mut self, column: Column, pending: Option<Pending>) {
        let Some(Pending { run, from, to, parts }) = pending else { return };
        self.cover(run, column, &parts, &without(&parts, (from, to)));
        self.settle(run);
    }

    /// Takes one copy away. `None` when there is none; whether it was the last in the column under this name; and, if it was,
    /// where the blocks stood that the name covers.
    fn remove_copy(
        &mut self,
        column: Column,
        namer: &Namer,
        span: u32,
        tells: u32,
        known: Known,
    ) -> Option<(bool, Stood)> {
        let count = self.copies_under(namer, column, known);
        if count == 0 {
            return None;
        }
        let key = (known.place, column);
        let covered: Stood = self.covered(known.place, tells).map(|place| self.prefix(place)).collect();
        let mut is_held = false;
        if let Some(copies) = self.copies.get_mut(&key) {
            copies.retain(|(domain, count)| {
                *count -= u32::from(*domain == known.domain);
                *count > 0
            });
            is_held = !copies.is_empty();
            if !is_held {
                self.copies.remove(&key);
            }
        }
        // In a wide column, blocks are held once for each name that covers them.
        if if self.is_wide[usize::from(column)] { count == 1 } else { !is_held } {
            self.uncover(column, span, known.place);
        }
        if count > 1 {
            return Some((false, Stood::new()));
        }
        Some((true, covered))
    }

    /// The column does not hold a block any more, nor those before it that its name covers.
    pub(super) fn uncover(&mut self, column: Column, span: u32, place: Place) {
        let mut next = Some(place);
        for _ in 0..span {
            let Some(place) = next else { return };
            next = self.back(place);
            if let Some(names) = self.covers.get_mut(&(place, column)) {
                *names -= 1;
                if *names == 1 {
                    self.covers.remove(&(place, column));
                }
                continue;
            }
            let parts = self.parts(place.run, column);
            self.cover(place.run, column, &parts, &without(&parts, (place.off, place.off + 1)));
        }
    }
}
