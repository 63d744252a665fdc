//! What is sent of one segment, and where it belongs.

use std::ops::Range;

use llmd_core::{Error, ErrorKind, Result};

use crate::device::DeviceCopy;
use crate::plan::{Copy, Plan};

/// Bytes in the order in which they are sent, and where they lie on one side.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Where each begins, and how long it is.
    runs: Vec<(u64, u64)>,
    /// After how many runs each period ends; nothing where the periods need not be told apart.
    ends: Vec<usize>,
    len: u64,
}

/// A place among them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Place {
    /// Which run.
    pub(super) run: usize,
    /// How much of it lies before.
    pub(super) offset: u64,
}

/// The side that is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    From,
    To,
}

/// How many runs one segment may have.
const MAX_RUNS: usize = 1 << 20;

impl Runs {
    /// Those of blocks of one segment. `are_apart`: no run is of two periods.
    pub(super) fn new(plan: &Plan, from: &[u32], to: &[u32], end: End, are_apart: bool) -> Result<Self> {
        let mut runs = Self::default();
        if !are_apart {
            runs.extend(plan, from, to, end, 0)?;
            return Ok(runs);
        }
        let (read, written) = plan.period();
        let periods = from.len().div_ceil(read).max(to.len().div_ceil(written));
        let part = |blocks: usize, period: usize, at: usize| (at * period).min(blocks)..((at + 1) * period).min(blocks);
        for period in 0..periods {
            let first = runs.runs.len();
            let (from, to) = (&from[part(from.len(), read, period)], &to[part(to.len(), written, period)]);
            runs.extend(plan, from, to, end, first)?;
            runs.ends.push(runs.runs.len());
        }
        Ok(runs)
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Which runs are of a period.
    pub(super) fn period(&self, period: usize) -> Range<usize> {
        let start = period.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[period]
    }

    pub(super) fn periods(&self) -> usize {
        self.ends.len()
    }

    /// What is left from a place on: where each run lies, and how long it is.
    pub(super) fn from(&self, at: Place) -> impl Iterator<Item = (u64, u64)> + '_ {
        let rest = self.runs.get(at.run..).unwrap_or_default();
        let skipped = move |(place, (offset, len)): (usize, &(u64, u64))| {
            let skip = if place == 0 { at.offset } else { 0 };
            (offset + skip, len - skip)
        };
        rest.iter().enumerate().map(skipped)
    }

    /// Of the run at this place what is left of it.
    pub(super) fn rest(&self, at: Place) -> Option<(u64, u64)> {
        self.from(at).next()
    }

    /// The place so many bytes further on, inside the same run or at its end.
    pub(super) fn after(&self, at: Place, bytes: u64) -> Place {
        let (run, offset) = (at.run, at.offset + bytes);
        if self.runs.get(run).is_some_and(|&(_, len)| offset >= len) {
            return Place { run: run + 1, offset: 0 };
        }
        Place { run, offset }
    }

    pub(super) fn is_end(&self, at: Place) -> bool {
        at.run >= self.runs.len()
    }

    /// The same bytes where they lie one behind the other: as they come, before they are where they belong.
    pub(super) fn flat(&self) -> Self {
        let mut flat = Self { ends: Vec::with_capacity(self.ends.len()), ..Self::default() };
        let mut begun = 0;
        let all = [self.runs.len()];
        for &end in if self.ends.is_empty() { &all[..] } else { &self.ends } {
            let len: u64 = self.runs[begun..end].iter().map(|&(_, len)| len).sum();
            if len > 0 {
                flat.runs.push((flat.len, len));
            }
            flat.len += len;
            begun = end;
            if !self.ends.is_empty() {
                flat.ends.push(flat.runs.len());
            }
        }
        flat
    }

    /// What takes them from where they lie one behind the other to where they belong in a device, but for those of these periods.
    pub(super) fn copies(&self, but: &[usize]) -> Vec<DeviceCopy> {
        let mut host = 0;
        let mut period = 0;
        let mut copies = Vec::with_capacity(self.runs.len());
        for (place, &(device, len)) in self.runs.iter().enumerate() {
            while self.ends.get(period).is_some_and(|&end| end <= place) {
                period += 1;
            }
            if self.ends.is_empty() || !but.contains(&period) {
                copies.push(DeviceCopy { device, host, len });
            }
            host += len;
        }
        copies
    }

    fn extend(&mut self, plan: &Plan, from: &[u32], to: &[u32], end: End, first: usize) -> Result<()> {
        for Copy { from, to, len } in plan.copies(from, to)? {
            let offset = if end == End::From { from } else { to };
            self.len += len;
            match self.runs[first..].last_mut() {
                Some((last, there)) if *last + *there == offset => *there += len,
                _ => self.runs.push((offset, len)),
            }
            if self.runs.len() > MAX_RUNS {
                let message = format!("a segment of more than {MAX_RUNS} runs: its layouts have too little in common");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{KvLayout, KvShape};

    #[test]
    fn both_sides_have_the_same_bytes_in_the_same_order() {
        let shape = KvShape { layers: 2, blocks: 12, heads: 2, tokens: 4, parts: 2, content: 64 };
        let wide = KvShape { blocks: 6, tokens: 8, ..shape };
        let from = KvLayout::named("LBNHC", shape).unwrap();
        for to in [shape, wide].map(|shape| KvLayout::named("LBHNC", shape).unwrap()).iter().chain([&from]) {
            let plan = Plan::new(&from, to).unwrap();
            let (read, written) = plan.period();
            let from_blocks = [5, 6, 1, 9];
            let to_blocks: Vec<u32> = (0..(4 * written / read) as u32).rev().collect();
            let all: u64 = plan.copies(&from_blocks, &to_blocks).unwrap().map(|copy| copy.len).sum();
            // The side that serves knows only how many blocks are written.
            let unknown = vec![0; to_blocks.len()];
            for are_apart in [false, true] {
                let sent = Runs::new(&plan, &from_blocks, &unknown, End::From, are_apart).unwrap();
                let received = Runs::new(&plan, &from_blocks, &to_blocks, End::To, are_apart).unwrap();
                assert_eq!((sent.len(), received.len()), (all, all));
                // Byte by byte, against the plan's own copies.
                let bytes = |runs: &Runs| -> Vec<u64> {
                    runs.from(Place::default()).flat_map(|(offset, len)| offset..offset + len).collect()
                };
                let pairs: std::collections::HashMap<u64, u64> = plan
                    .copies(&from_blocks, &to_blocks)
                    .unwrap()
                    .flat_map(|copy| (0..copy.len).map(move |byte| (copy.from + byte, copy.to + byte)))
                    .collect();
                for (from, to) in bytes(&sent).into_iter().zip(bytes(&received)) {
                    assert_eq!(pairs[&from], to);
                }
                assert_eq!(sent.periods(), if are_apart { from_blocks.len() / read } else { 0 });
            }
        }
    }

    #[test]
    fn a_place_moves_run_by_run() {
        let layout = KvLayout::opaque("amx", 9, 100).unwrap();
        let plan = Plan::new(&layout, &layout).unwrap();
        let runs = Runs::new(&plan, &[1, 2, 7], &[0, 0, 0], End::From, false).unwrap();
        assert_eq!(runs.from(Place::default()).collect::<Vec<_>>(), [(100, 200), (700, 100)]);
        let inside = runs.after(Place::default(), 150);
        assert_eq!((inside, runs.rest(inside)), (Place { run: 0, offset: 150 }, Some((250, 50))));
        let next = runs.after(inside, 50);
        assert_eq!((next, runs.is_end(next)), (Place { run: 1, offset: 0 }, false));
        assert!(runs.is_end(runs.after(next, 100)));
    }

    #[test]
    fn what_came_one_behind_the_other_goes_to_its_places_but_for_what_is_wrong() {
        let shape = KvShape { layers: 2, blocks: 12, heads: 1, tokens: 4, parts: 1, content: 25 };
        let layout = KvLayout::named("LBNHC", shape).unwrap();
        let plan = Plan::new(&layout, &layout).unwrap();
        let (from, to) = ([0, 1, 2], [7, 3, 4]);
        let apart = Runs::new(&plan, &from, &to, End::To, true).unwrap();
        let flat = apart.flat();
        assert_eq!((flat.len(), flat.periods()), (apart.len(), 3));
        assert_eq!(flat.from(Place::default()).collect::<Vec<_>>(), [(0, 200), (200, 200), (400, 200)]);
        let copies = apart.copies(&[1]);
        let expected = [(700, 0), (1900, 100), (400, 400), (1600, 500)];
        assert_eq!(copies, expected.map(|(device, host)| DeviceCopy { device, host, len: 100 }));
        // What is not told apart comes whole.
        let together = Runs::new(&plan, &from, &to, End::To, false).unwrap();
        let flat = together.flat();
        assert_eq!((flat.from(Place::default()).collect::<Vec<_>>(), flat.periods()), (vec![(0, 600)], 0));
        assert_eq!(together.copies(&[1]).iter().map(|copy| copy.len).sum::<u64>(), 600);
        assert!(Runs::default().flat().is_end(Place::default()));
    }
}
