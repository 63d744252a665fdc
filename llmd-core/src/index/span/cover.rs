//! Which parts of a run a column holds.

use smallvec::SmallVec;

use super::run::Header;
use super::set::Set;
use super::sync::{AtomicU64, Ordering};
use super::{Column, Span, View};

/// Parts of a run, from a block up to before another, in order, with a gap between any two.
pub(in super::super) type Parts = SmallVec<[(u32, u32); 2]>;

/// Words that a group takes: from and to, kind of the set, the set.
const GROUP: u32 = 3;

/// Some columns that hold the same part of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) holders: Set,
}

impl View {
    #[inline]
    pub(super) fn word(&self, at: u32) -> u64 {
        self.words.at(at as usize).load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn set_word(&self, at: u32, word: u64) {
        self.words.at(at as usize).store(word, Ordering::Relaxed);
    }

    /// Words that were taken together, for the writer.
    #[inline]
    pub(super) fn list(&self, at: u32, len: usize) -> &[AtomicU64] {
        self.words.cells(at as usize, len)
    }

    #[inline]
    pub(super) fn group(&self, header: &Header, nth: u32) -> Group {
        let at = header.list.wrapping_add(GROUP * nth);
        let range = self.word(at);
        let holders = Set::from_parts(self.word(at.wrapping_add(1)) as u32, self.word(at.wrapping_add(2)));
        Group { from: range as u32, to: (range >> 32) as u32, holders }
    }

    fn set_group(&self, header: &Header, nth: u32, group: Group) {
        let at = header.list + GROUP * nth;
        let (kind, data) = group.holders.parts();
        self.set_word(at, u64::from(group.to) << 32 | u64::from(group.from));
        self.set_word(at + 1, kind.into());
        self.set_word(at + 2, data);
    }
}

impl Span {
    /// The parts of a run that a column holds.
    #[inline]
    pub(super) fn parts(&self, run: u32, column: Column) -> Parts {
        let header = self.run(run).peek();
        if header.whole.contains(&self.view.words, column) {
            return SmallVec::from_slice(&[(0, header.len)]);
        }
        let mut parts = Parts::new();
        for nth in 0..header.groups {
            let group = self.view.group(&header, nth);
            if group.holders.contains(&self.view.words, column) {
                parts.push((group.from, group.to));
                if self.meta(run).islands == 0 {
                    break;
                }
            }
        }
        parts.sort_unstable();
        parts
    }

    /// Whether a column holds a block.
    pub(in super::super) fn holds(&self, run: u32, column: Column, off: u32) -> bool {
        self.parts(run, column).iter().any(|&(from, to)| from <= off && off < to)
    }

    /// A column holds these parts of a run, and no longer those.
    pub(super) fn cover(&mut self, run: u32, column: Column, old: &Parts, new: &Parts) {
        if old == new {
            return;
        }
        self.run(run).begin();
        let mut header = self.run(run).peek();
        self.change(run, &mut header, column, old, new);
        self.run(run).finish(&header);
    }

    /// The same, inside a change.
    pub(super) fn change(&mut self, run: u32, header: &mut Header, column: Column, old: &Parts, new: &Parts) {
        for part in old.iter().filter(|part| !new.contains(part)) {
            self.take_out(run, header, column, *part);
        }
        for part in new.iter().filter(|part| !old.contains(part)) {
            self.put_in(run, header, column, *part);
        }
    }

    /// A column holds a part more; inside a change.
    fn put_in(&mut self, run: u32, header: &mut Header, column: Column, (from, to): (u32, u32)) {
        if (from, to) == (0, header.len) {
            header.whole = header.whole.with(&mut self.arena, &self.view.words, column);
            return;
        }
        for nth in 0..header.groups {
            let mut group = self.view.group(header, nth);
            if (group.from, group.to) == (from, to) {
                group.holders = group.holders.with(&mut self.arena, &self.view.words, column);
                self.view.set_group(header, nth, group);
                return;
            }
        }
        self.push_group(run, header, Group { from, to, holders: Set::of(column) });
    }

    fn push_group(&mut self, run: u32, header: &mut Header, group: Group) {
        let room = self.meta(run).list_room;
        if GROUP * (header.groups + 1) > room {
            let (list, len) = self.arena.take((2 * GROUP * header.groups).max(4) as usize);
            for word in 0..GROUP * header.groups {
                self.view.set_word(list + word, self.view.word(header.list + word));
            }
            self.arena.give_back(header.list, room);
            header.list = list;
            self.meta_mut(run).list_room = len;
        }
        self.view.set_group(header, header.groups, group);
        header.groups += 1;
        self.meta_mut(run).islands += u32::from(group.from > 0);
    }

    /// A column holds a part less; inside a change.
    fn take_out(&mut self, run: u32, header: &mut Header, column: Column, (from, to): (u32, u32)) {
        if (from, to) == (0, header.len) {
            header.whole = header.whole.without(&mut self.arena, &self.view.words, column);
            return;
        }
        for nth in 0..header.groups {
            let mut group = self.view.group(header, nth);
            if (group.from, group.to) != (from, to) {
                continue;
            }
            group.holders = group.holders.without(&mut self.arena, &self.view.words, column);
            self.view.set_group(header, nth, group);
            if group.holders.is_empty() {
                self.drop_group(run, header, nth);
            }
            return;
        }
    }

    fn drop_group(&mut self, run: u32, header: &mut Header, nth: u32) {
        let group = self.view.group(header, nth);
        self.meta_mut(run).islands -= u32::from(group.from > 0);
        header.groups -= 1;
        let last = self.view.group(header, header.groups);
        self.view.set_group(header, nth, last);
    }

    /// After the length of a run changed: a group that holds all of it now are its whole holders; inside a change, when it
    /// has no whole holders.
    pub(super) fn find_whole(&mut self, run: u32, header: &mut Header) {
        for nth in 0..header.groups {
            let group = self.view.group(header, nth);
            if (group.from, group.to) == (0, header.len) {
                header.whole = group.holders;
                self.drop_group(run, header, nth);
                return;
            }
        }
    }

    /// Before a run becomes longer: its whole holders hold a part of it; inside a change.
    pub(super) fn part_whole(&mut self, run: u32, header: &mut Header) {
        if !header.whole.is_empty() {
            let whole = std::mem::take(&mut header.whole);
            self.push_group(run, header, Group { from: 0, to: header.len, holders: whole });
        }
    }

    /// The end of the last part that anybody holds.
    pub(super) fn held_to(&self, header: &Header) -> u32 {
        if !header.whole.is_empty() {
            return header.len;
        }
        (0..header.groups).map(|nth| self.view.group(header, nth).to).max().unwrap_or(0)
    }

    /// Every column that holds something of a run.
    pub(super) fn columns_of(&self, header: &Header, mut tell: impl FnMut(Column)) {
        header.whole.for_each(&self.view.words, &mut tell);
        for nth in 0..header.groups {
            self.view.group(header, nth).holders.for_each(&self.view.words, &mut tell);
        }
    }
}

/// The parts with the blocks `from..to` too.
pub(super) fn with(parts: &Parts, (mut from, mut to): (u32, u32)) -> Parts {
    let mut all = Parts::new();
    for &(start, end) in parts {
        if end < from || to < start {
            all.push((start, end));
        } else {
            (from, to) = (from.min(start), to.max(end));
        }
    }
    all.push((from, to));
    all.sort_unstable();
    all
}

/// The parts without the blocks `from..to`.
pub(super) fn without(parts: &Parts, (from, to): (u32, u32)) -> Parts {
    let mut left = Parts::new();
    for &(start, end) in parts {
        for (start, end) in [(start, end.min(from)), (start.max(to), end)] {
            if start < end {
                left.push((start, end));
            }
        }
    }
    left
}
