//! Why each worker's prefix ends where it does.

use super::super::groups::alike;
use super::super::roster::{Roster, Seat};
use super::super::span::{Column, Stretches};
use super::super::{BlockFate, Explanation, Overlap, PrefixIndex as _, WorkerExplanation, WorkerOverlap};
use super::ExactReader;
use super::closely::{Look, Ranges, joined};
use super::shared::{Shared, WorkerView};
use crate::Medium;
use crate::hash::Chain;

pub(super) fn explain(reader: &ExactReader, shared: &Shared, chain: &Chain) -> Explanation {
    let overlap = reader.query(chain);
    let Some(roster) = overlap.roster.clone() else { return Explanation::new(chain, []) };
    let mut stretches = Stretches::default();
    shared.view.gather_all(chain.blocks(), &everything(&roster), &mut stretches);
    let workers = shared.workers.pin();
    let explained = roster.seats.iter().map(|seat| {
        let view = workers.get(&seat.worker).cloned().unwrap_or_default();
        let look = Look { seat, pool: roster.pool, chain, levels: &overlap.levels, stretches: Some(&stretches) };
        explain_worker(&look, &view, &overlap, &stretches)
    });
    Explanation::new(chain, explained)
}

/// Every column that is in use, or was until its worker gave it up.
fn everything(roster: &Roster) -> Vec<u64> {
    let columns = |seat: &Seat| {
        let held: Vec<Column> = seat.columns.iter().map(|held| held.column).collect();
        held.into_iter().chain(seat.cleared.iter().map(|&(column, _)| column)).collect::<Vec<_>>()
    };
    let mut all = roster.live.clone();
    for column in roster.seats.iter().flat_map(columns) {
        let word = usize::from(column >> 6);
        if all.len() <= word {
            all.resize(word + 1, 0);
        }
        all[word] |= 1 << (column & 63);
    }
    all
}

fn explain_worker(look: &Look<'_>, view: &WorkerView, overlap: &Overlap, stretches: &Stretches) -> WorkerExplanation {
    let (seat, chain) = (look.seat, look.chain);
    let mut found = overlap.get(seat.worker).unwrap_or_else(|| WorkerOverlap::none(seat.worker));
    found.shared = overlap.shared();
    let (held, limited_by) = match alike(&seat.groups) {
        Some(_) => (look.own(stretches), None),
        None => (look.on(Medium::Gpu, stretches), look.lookup().limited_by),
    };
    if overlap.get(seat.worker).is_none() && alike(&seat.groups).is_some() {
        // Not of use, but there: on some medium it may hold what the pool's storage does not reach.
        found.leading_by_medium = look.overlap(overlap.shared()).leading_by_medium;
    }
    let held = joined(held);
    let next = chain.blocks().get(found.leading as usize).filter(|_| !contains(&held, found.leading));
    let next = next.map(|digest| fate(seat, view, digest.0, found.leading, stretches));
    let behind = held.iter().map(|&(from, to)| to.saturating_sub(from.max(found.leading)) as usize).sum();
    let mut explained = WorkerExplanation::new(found, view.state);
    explained.next = next;
    explained.limited_by = limited_by;
    explained.held_behind = behind;
    explained.unplaced = view.unplaced;
    explained
}

/// What became of a block that a worker does not hold.
fn fate(seat: &Seat, view: &WorkerView, digest: u64, block: u32, stretches: &Stretches) -> BlockFate {
    let remembered = view.memory.lock().fate(digest);
    let cleared = seat.cleared.iter().filter(|(column, _)| {
        let held: Ranges = stretches.of(*column).iter().map(|stretch| (stretch.from, stretch.to)).collect();
        contains(&held, block)
    });
    let cleared = cleared.map(|&(_, order)| (order, BlockFate::Cleared));
    let last = cleared.chain(remembered).max_by_key(|&(order, _)| order);
    last.map_or(BlockFate::NeverStored, |(_, fate)| fate)
}

fn contains(ranges: &Ranges, block: u32) -> bool {
    ranges.iter().any(|&(from, to)| from <= block && block < to)
}
