//! Answers that are more than the length of one prefix: of workers with several media, groups or block sizes, and of a pool
//! with storage of its own.

use smallvec::SmallVec;

use super::super::groups::{Hit, Kind, alike, hit};
use super::super::roster::{Held, Roster, Seat};
use super::super::span::{Column, Levels, Stretch, Stretches, View};
use super::super::{Overlap, WorkerOverlap};
use crate::hash::Chain;
use crate::{GroupIdx, Medium};

/// Blocks from one up to before another, in order, with gaps between them.
pub(super) type Ranges = SmallVec<[(u32, u32); 4]>;

/// Lists the workers that have to be looked at closely, after a walk.
pub(super) fn look_closely(view: &View, roster: &Roster, chain: &Chain, overlap: &mut Overlap) {
    let Overlap { levels, listed, scratch, shared, .. } = overlap;
    *shared = roster.pool.map_or(0, |pool| levels.of(pool));
    let ragged = &scratch.walk.ragged;
    let is_ragged =
        |column: Column| ragged.get(usize::from(column >> 6)).is_some_and(|bits| bits >> (column & 63) & 1 == 1);
    let pool_is_ragged = roster.pool.is_some_and(is_ragged);
    let needs_more = |seat: &Seat| {
        let spans = alike(&seat.groups);
        spans.is_none() || pool_is_ragged || seat.columns.iter().any(|held| is_ragged(held.column))
    };
    let wanted = &mut scratch.wanted;
    wanted.clear();
    wanted.resize(roster.live.len(), 0);
    let (mut any, mut any_parts) = (false, false);
    for seat in roster.seats.iter().filter(|seat| seat.plain.is_none() && needs_more(seat)) {
        for column in seat.columns.iter().map(|held| held.column).chain(roster.pool) {
            wanted[usize::from(column >> 6)] |= 1 << (column & 63);
            any = true;
        }
        any_parts |= seat.parts.is_some();
    }
    if any_parts {
        // Parts of blocks may be hit behind others that nobody holds.
        view.gather_all(chain.blocks(), wanted, &mut scratch.stretches);
    } else if any {
        view.gather(chain.blocks(), &scratch.walk, wanted, &mut scratch.stretches);
    }
    for seat in roster.seats.iter().filter(|seat| seat.plain.is_none()) {
        let stretches = needs_more(seat).then_some(&scratch.stretches);
        let look = Look { seat, pool: roster.pool, chain, levels, stretches };
        let found = look.overlap(*shared);
        if found.leading > 0 {
            listed.push(found);
        }
    }
}

/// One worker, and what is known of the columns.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pub(super) seat: &'a Seat,
    pub(super) pool: Option<Column>,
    pub(super) chain: &'a Chain,
    pub(super) levels: &'a Levels,
    /// Everything that its columns and the pool hold; `None` when they hold prefixes and nothing else.
    pub(super) stretches: Option<&'a Stretches>,
}

impl Look<'_> {
    pub(super) fn overlap(&self, shared: u32) -> WorkerOverlap {
        let mut overlap = WorkerOverlap::none(self.seat.worker);
        overlap.shared = shared;
        match alike(&self.seat.groups) {
            Some(span) => self.all_alike(span, &mut overlap),
            None => {
                overlap.leading = self.lookup().blocks;
                overlap.leading_by_medium[Medium::Gpu.index()] = overlap.leading;
            }
        }
        overlap
    }

    /// The leading blocks that every group holds, and with them the pool.
    fn all_alike(&self, span: u32, overlap: &mut WorkerOverlap) {
        let whole = |run: u32| if span == 1 { run } else { run.min(self.limit()) / span * span };
        let leads = Medium::ALL.map(|medium| self.leads(medium));
        overlap.leading_by_medium = leads.map(whole);
        let prefix = leads.into_iter().max().unwrap_or(0).max(overlap.shared);
        let Some(stretches) = self.stretches else {
            overlap.leading = if leads.iter().any(|&led| led > 0) { whole(prefix) } else { 0 };
            return;
        };
        let own = self.own(stretches);
        let mut all = own.clone();
        all.extend(self.pool.into_iter().flat_map(|pool| stretches.of(pool)).map(|stretch| (stretch.from, stretch.to)));
        let leading = whole(prefix_of(all));
        if own.iter().any(|&(from, _)| from < leading) {
            overlap.leading = leading;
        }
    }

    /// How many leading blocks all full groups hold on a medium.
    fn leads(&self, medium: Medium) -> u32 {
        let group = |group| {
            let columns = self.columns(group, medium);
            columns.map(|held| self.levels.of(held.column)).max().unwrap_or(0)
        };
        self.seat.full_groups().map(group).min().unwrap_or(0)
    }

    /// What the worker holds itself: on any medium what all full groups hold there.
    pub(super) fn own(&self, stretches: &Stretches) -> Ranges {
        let mut own = Ranges::new();
        for medium in Medium::ALL {
            own.extend(self.on(medium, stretches));
        }
        own
    }

    /// What all full groups hold on a medium.
    pub(super) fn on(&self, medium: Medium, stretches: &Stretches) -> Ranges {
        let mut all: Option<Ranges> = None;
        for group in self.seat.full_groups() {
            let mut ranges = Ranges::new();
            for held in self.columns(group, medium) {
                ranges.extend(stretches.of(held.column).iter().map(|stretch| (stretch.from, stretch.to)));
            }
            let ranges = joined(ranges);
            all = Some(match all {
                Some(all) => common(&all, &ranges),
                None => ranges,
            });
        }
        all.unwrap_or_default()
    }

    /// What the engine's lookup takes from its GPU.
    pub(super) fn lookup(&self) -> Hit {
        let unit = self.chain.block_size() as u32;
        let Some(stretches) = self.stretches else { return Hit { blocks: 0, limited_by: None } };
        let has = |group: GroupIdx, end: u32| {
            let span = self.span(group);
            self.columns(group, Medium::Gpu).any(|held| {
                let ends_here = held.span == 1 || self.is_sparse(group) || end % span == held.span % span;
                ends_here && holds(stretches.of(held.column), end - 1)
            }) || self.has_by_name(group, end)
        };
        let leads = |group: GroupIdx| {
            let span = self.span(group);
            let own = self.columns(group, Medium::Gpu).find(|held| held.span == span);
            let leading = own.map_or(0, |held| self.levels.of(held.column));
            if self.seat.parts.is_none() || self.chain.names().is_empty() {
                return leading;
            }
            // What is found by its own name may stand between what has a place.
            let next = |&end: &u32| Some(end + span).filter(|&next| next <= self.limit() && has(group, next));
            std::iter::successors(Some(leading / span * span), next).last().unwrap_or(leading)
        };
        hit(&self.seat.groups, self.limit(), unit, leads, has)
    }

    /// Whether a group has the block that ends there under the name by which the chain knows it.
    fn has_by_name(&self, group: GroupIdx, end: u32) -> bool {
        let (Some(parts), Some(name)) = (&self.seat.parts, self.chain.names().get(end as usize - 1)) else {
            return false;
        };
        parts.pin().get(name).is_some_and(|groups| groups.contains(&group))
    }

    fn columns(&self, group: GroupIdx, medium: Medium) -> impl Iterator<Item = &Held> {
        self.seat.columns.iter().filter(move |held| held.group == group && held.medium == medium)
    }

    fn span(&self, group: GroupIdx) -> u32 {
        self.seat.groups.iter().find(|(idx, _)| *idx == group).map_or(1, |(_, group)| group.span())
    }

    fn is_sparse(&self, group: GroupIdx) -> bool {
        self.seat.groups.iter().any(|(idx, known)| *idx == group && known.kind != Kind::Full)
    }

    /// How many blocks a hit can have: an engine always computes the last token.
    fn limit(&self) -> u32 {
        (self.chain.tokens().saturating_sub(1) / self.chain.block_size().max(1)) as u32
    }
}

/// Whether a block is in one of a column's stretches.
fn holds(stretches: &[Stretch], block: u32) -> bool {
    let after = stretches.partition_point(|stretch| stretch.from <= block);
    after > 0 && block < stretches[after - 1].to
}

/// Sorts ranges, and joins what touches.
pub(super) fn joined(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut all = Ranges::new();
    for (from, to) in ranges {
        match all.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => all.push((from, to)),
        }
    }
    all
}

/// What is in both of two lists of ranges.
fn common(one: &Ranges, other: &Ranges) -> Ranges {
    let mut both = Ranges::new();
    for &(from, to) in one {
        for &(start, end) in other {
            if from.max(start) < to.min(end) {
                both.push((from.max(start), to.min(end)));
            }
        }
    }
    both
}

/// How far ranges reach without a gap from 0 on.
fn prefix_of(ranges: Ranges) -> u32 {
    joined(ranges).first().filter(|&&(from, _)| from == 0).map_or(0, |&(_, to)| to)
}
