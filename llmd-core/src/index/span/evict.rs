//! When there are too many blocks: runs go that no other hangs on and that nothing was stored in for long.

use std::ops::AddAssign;

use super::cover::Parts;
use super::sweep::places;
use super::{Column, Place, Span};

/// What a column lost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in super::super) struct Dropped {
    /// Names that the column had of them, and copies under these names.
    pub(in super::super) names: usize,
    pub(in super::super) copies: usize,
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.names += other.names;
        self.copies += other.copies;
    }
}

impl Span {
    /// Drops runs until no more than `most` blocks are left, or so many runs were looked at. A run that something was
    /// stored in since it was last looked at is left for the next time.
    ///
    /// `span_of` says how many blocks a name of an owner's column covers, and `dropped` is told of each that loses something.
    pub(in super::super) fn evict(
        &mut self,
        most: usize,
        runs: usize,
        span_of: impl Fn(u32, Column) -> u32,
        mut dropped: impl FnMut(u32, Column, Dropped),
    ) {
        for _ in 0..runs {
            if self.blocks <= most {
                return;
            }
            let run = self.evicting_at;
            self.evicting_at = if run as usize + 1 >= self.meta.len() { 1 } else { run + 1 };
            let is_there = self.meta.get(run as usize).is_some_and(|meta| meta.children == 0);
            if !is_there || self.run(run).peek().len == 0 {
                continue;
            }
            if std::mem::take(&mut self.meta_mut(run).is_fresh) {
                continue;
            }
            let mut holders = Vec::new();
            self.columns_of(&self.run(run).peek(), |column| holders.push(column));
            holders.sort_unstable();
            holders.dedup();
            for column in holders {
                let owner = self.owners[usize::from(column)];
                dropped(owner, column, self.drop_held(run, column, span_of(owner, column)));
            }
            self.settle(run);
        }
    }

    /// Takes everything out of a run that a column holds of it, and what names of these blocks cover before it.
    fn drop_held(&mut self, run: u32, column: Column, span: u32) -> Dropped {
        let mut dropped = Dropped::default();
        let is_wide = self.is_wide[usize::from(column)];
        let parts = self.parts(run, column);
        for place in places(run, &parts) {
            let unsaid = !is_wide;
            let (names, copies) = match self.copies.remove(&(place, column)) {
                Some(copies) => (copies.len(), copies.iter().map(|&(_, count)| count as usize).sum()),
                None => (usize::from(unsaid), usize::from(unsaid)),
            };
            dropped.names += names;
            dropped.copies += copies;
            if is_wide && let Some(before) = self.back(Place { run, off: 0 }) {
                // The others that the name covers in this run go with all of it.
                let outside = span.saturating_sub(place.off + 1);
                (0..names).for_each(|_| self.uncover(column, outside, before));
            }
        }
        if self.meta(run).has_copies {
            for place in places(run, &parts) {
                self.covers.remove(&(place, column));
            }
        }
        self.cover(run, column, &self.parts(run, column), &Parts::new());
        dropped
    }
}
