//! Columns that are given up at once, and cleaned away little by little.

use super::cover::Parts;
use super::{Column, Place, Span};

/// A column that nobody asks for any more.
#[derive(Debug)]
pub(super) struct Retired {
    column: Column,
    /// The run that was to be looked at next when it was given up, and whether the first one was looked at since.
    from: u32,
    is_around: bool,
}

/// A block that a retired column held.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Swept {
    pub(in super::super) column: Column,
    pub(in super::super) place: Place,
}

impl Span {
    /// Gives a column up. What it holds stays until [`sweep`](Self::sweep) has come by everywhere.
    pub(in super::super) fn retire(&mut self, column: Column) {
        self.retired.push(Retired { column, from: self.sweeping_at, is_around: false });
    }

    /// Whether there are columns to be cleaned away.
    pub(in super::super) const fn is_swept(&self) -> bool {
        self.retired.is_empty()
    }

    /// Looks at so many runs and takes out of them what retired columns hold. `swept` is told of each block before it goes,
    /// and `done` of each column that is gone altogether; its number may be given out again.
    pub(in super::super) fn sweep(
        &mut self,
        runs: usize,
        mut swept: impl FnMut(&Self, Swept),
        mut done: impl FnMut(Column),
    ) {
        for _ in 0..runs {
            if self.retired.is_empty() {
                return;
            }
            let run = self.sweeping_at;
            if (run as usize) < self.meta.len() {
                self.sweep_run(run, &mut swept);
            }
            let is_around = run as usize + 1 >= self.meta.len();
            self.sweeping_at = if is_around { 1 } else { run + 1 };
            let (next, free) = (self.sweeping_at, &mut self.free_columns);
            self.retired.retain_mut(|retired| {
                retired.is_around |= is_around;
                let is_done = retired.is_around && next >= retired.from.min(self.meta.len() as u32 - 1).max(1);
                if is_done {
                    free.push(retired.column);
                    done(retired.column);
                }
                !is_done
            });
        }
    }

    fn sweep_run(&mut self, run: u32, swept: &mut impl FnMut(&Self, Swept)) {
        let header = self.run(run).peek();
        if header.len == 0 {
            return;
        }
        let mut gone = Vec::new();
        self.columns_of(&header, |column| {
            if self.retired.iter().any(|retired| retired.column == column) && !gone.contains(&column) {
                gone.push(column);
            }
        });
        for &column in &gone {
            self.drop_column(run, column, swept);
        }
        if !gone.is_empty() {
            self.settle(run);
        }
    }

    /// Takes everything out of a run that a column holds of it.
    fn drop_column(&mut self, run: u32, column: Column, swept: &mut impl FnMut(&Self, Swept)) {
        let parts = self.parts(run, column);
        for place in places(run, &parts) {
            swept(self, Swept { column, place });
            if self.meta(run).has_copies {
                self.copies.remove(&(place, column));
                self.covers.remove(&(place, column));
            }
        }
        self.cover(run, column, &parts, &Parts::new());
    }

    /// Every block that a column holds: slow, for comparisons and snapshots.
    pub(in super::super) fn residents(&self, column: Column) -> Vec<Place> {
        let runs = 1..self.meta.len() as u32;
        runs.filter(|&run| self.run(run).peek().len > 0)
            .flat_map(|run| places(run, &self.parts(run, column)).collect::<Vec<_>>())
            .collect()
    }
}

pub(super) fn places(run: u32, parts: &Parts) -> impl Iterator<Item = Place> {
    parts.iter().flat_map(move |&(from, to)| (from..to).map(move |off| Place { run, off }))
}
