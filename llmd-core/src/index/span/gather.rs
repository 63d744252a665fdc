//! Everything that some columns hold of a prompt, not only what they lead with.

use super::walk::{Step, Walk};
use super::{Column, View};
use crate::BlockHash;

/// Blocks of a prompt that a column holds, from one up to before another.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in super::super) struct Stretch {
    pub(in super::super) column: Column,
    pub(in super::super) from: u32,
    pub(in super::super) to: u32,
}

/// What columns hold of a prompt: by column, then in order, with a gap between any two of a column.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Stretches(Vec<Stretch>);

impl Stretches {
    /// What one column holds.
    pub(in super::super) fn of(&self, column: Column) -> &[Stretch] {
        let first = self.0.partition_point(|stretch| stretch.column < column);
        let len = self.0[first..].partition_point(|stretch| stretch.column == column);
        &self.0[first..first + len]
    }

    /// Joins what touches.
    fn tidy(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by(|next, before| {
            let touches = next.column == before.column && next.from <= before.to;
            if touches {
                before.to = before.to.max(next.to);
            }
            touches
        });
    }
}

impl View {
    /// What the columns of `wanted` hold along a walk.
    pub(in super::super) fn gather(&self, digests: &[BlockHash], walk: &Walk, wanted: &[u64], found: &mut Stretches) {
        found.0.clear();
        for &step in &walk.steps {
            self.gather_step(digests, step, wanted, found);
        }
        found.tidy();
    }

    /// What columns hold of a prompt wherever in it, also behind blocks that nobody holds.
    pub(in super::super) fn gather_all(&self, digests: &[BlockHash], wanted: &[u64], found: &mut Stretches) {
        found.0.clear();
        let mut at = 0;
        while at < digests.len() {
            let Some(place) = self.heads.get(digests[at].0) else {
                at += 1;
                continue;
            };
            let (_, header) = self.runs.at(place.run as usize).read();
            let is_it = header.head == digests[at].0 && header.start as usize == at && header.len > 0;
            if !is_it || (at > 0 && header.before != digests[at - 1].0) {
                at += 1;
                continue;
            }
            let matched = self.matched(&header, &digests[at..]) as u32;
            self.gather_step(digests, Step { run: place.run, start: at as u32, matched }, wanted, found);
            at += matched as usize;
        }
        found.tidy();
    }

    fn gather_step(&self, digests: &[BlockHash], step: Step, wanted: &[u64], found: &mut Stretches) {
        let Step { run, start, matched } = step;
        let cell = self.runs.at(run as usize);
        let known = found.0.len();
        loop {
            let (version, header) = cell.read();
            let last = start as usize + matched as usize - 1;
            let is_it = header.start == start && header.len > 0 && header.head == digests[start as usize].0;
            let matched = if is_it && self.word(header.digests.wrapping_add(matched - 1)) == digests[last].0 {
                matched.min(header.len)
            } else {
                0
            };
            let mut hold = |column: Column, from: u32, to: u32| {
                let is_wanted = wanted.get(usize::from(column >> 6)).is_some_and(|bits| bits >> (column & 63) & 1 == 1);
                if is_wanted && from < to.min(matched) {
                    found.0.push(Stretch { column, from: start + from, to: start + to.min(matched) });
                }
            };
            header.whole.for_each(&self.words, |column| hold(column, 0, header.len));
            for nth in 0..header.groups {
                let group = self.group(&header, nth);
                group.holders.for_each(&self.words, |column| hold(column, group.from, group.to));
            }
            if cell.is_still(version) {
                return;
            }
            found.0.truncate(known);
        }
    }
}
