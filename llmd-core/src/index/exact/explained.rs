//! Why each worker's prefix ends where it does.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::super::groups::{Kind, alike};
use super::super::roster::{Roster, Seat};
use super::super::span::{Column, Stretches};
use super::super::{BlockFate, Explanation, Overlap, PrefixIndex as _, WorkerExplanation, WorkerOverlap};
use super::ExactReader;
use super::closely::{Look, Ranges, joined};
use super::shared::{Shared, WorkerView};
use crate::hash::Chain;
use crate::{BlockHash, Medium};

pub(super) fn explain(reader: &ExactReader, shared: &Shared, chain: &Chain) -> Explanation {
    let overlap = reader.query(chain);
    let Some(roster) = overlap.roster.clone() else { return Explanation::new(chain, []) };
    let (mut stretches, wanted) = (Stretches::default(), everything(&roster));
    shared.view.gather_all(chain.blocks(), &wanted, &mut stretches);
    let workers = shared.workers.pin();
    let view = |seat: &Seat| {
        let view = workers.get(&seat.worker).cloned().unwrap_or_default();
        // What is remembered of a worker is locked for ever when its writer is gone.
        if shared.view.writer_is_gone() { WorkerView { memory: Arc::default(), ..view } } else { view }
    };
    let looks = roster.seats.iter();
    let looks =
        looks.map(|seat| Look { seat, pool: roster.pool, chain, levels: &overlap.levels, stretches: Some(&stretches) });
    let mut explained: Vec<_> =
        looks.map(|look| (explain_worker(&look, &view(look.seat), &overlap, &stretches), look)).collect();
    let unknown = |explained: &WorkerExplanation| explained.next == Some(BlockFate::NeverStored);
    let deepest =
        explained.iter().filter(|(explained, _)| unknown(explained)).map(|(explained, _)| explained.ends).max();
    let elsewhere = deepest.map(|deepest| elsewhere(shared, chain, deepest as usize, &wanted)).unwrap_or_default();
    for (explained, look) in explained.iter_mut().filter(|(explained, _)| unknown(explained)) {
        explained.next = Some(reason(look, &view(look.seat), explained.ends, &elsewhere));
    }
    Explanation::new(chain, explained.into_iter().map(|(explained, _)| explained))
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
    let limited_by = alike(&seat.groups).is_none().then(|| look.lookup().limited_by).flatten();
    if overlap.get(seat.worker).is_none() && alike(&seat.groups).is_some() {
        // Not of use, but there: on some medium it may hold what the pool's storage does not reach.
        found.leading_by_medium = look.overlap(overlap.shared()).leading_by_medium;
    }
    let held = held(look, stretches);
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

/// What a worker holds that may be of use to it.
fn held(look: &Look<'_>, stretches: &Stretches) -> Ranges {
    joined(match alike(&look.seat.groups) {
        Some(_) => look.own(stretches),
        None => look.on(Medium::Gpu, stretches),
    })
}

/// What became of a block that a worker does not hold, as far as that is remembered.
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

/// What is held of the same tokens, up to the block `last`, in each of the other namespaces that were seen lately.
fn elsewhere(shared: &Shared, chain: &Chain, last: usize, wanted: &[u64]) -> Vec<Stretches> {
    let tokens = &chain.blocks()[..=last];
    let marks = shared.namespaces.load();
    let others = [0].into_iter().chain(marks.iter().copied()).filter(|&mark| mark != chain.namespace());
    let mut digests = Vec::with_capacity(tokens.len());
    others
        .map(|mark| {
            digests.clear();
            digests.extend(tokens.iter().map(|digest| BlockHash(digest.0 ^ chain.namespace() ^ mark)));
            let mut stretches = Stretches::default();
            shared.view.gather_all(&digests, wanted, &mut stretches);
            stretches
        })
        .collect()
}

/// Why a worker does not hold a block of which nothing is remembered.
fn reason(look: &Look<'_>, view: &WorkerView, block: u32, elsewhere: &[Stretches]) -> BlockFate {
    if elsewhere.iter().any(|stretches| contains(&held(look, stretches), block)) {
        return BlockFate::OtherNamespace;
    }
    match wider(look, block).or(view.other_size) {
        Some(block_size) => BlockFate::OtherBlockSize { block_size },
        None => BlockFate::unknown(view.state),
    }
}

/// How many tokens the engine's block has that this one would be a part of, when the prompt does not fill it.
fn wider(look: &Look<'_>, block: u32) -> Option<u32> {
    let is_whole = |span: &u32| (block / span + 1) * span <= look.chain.blocks().len() as u32;
    let full = look.seat.groups.iter().filter(|(_, group)| group.kind == Kind::Full && group.spans.len() == 1);
    let span = full.map(|(_, group)| group.span()).max().filter(|span| !is_whole(span))?;
    Some(span * look.chain.block_size() as u32)
}

fn contains(ranges: &Ranges, block: u32) -> bool {
    ranges.iter().any(|&(from, to)| from <= block && block < to)
}
