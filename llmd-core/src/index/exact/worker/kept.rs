//! What one worker holds, as records of a snapshot and back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use smallvec::SmallVec;

use super::super::super::snapshot::{
    BlockRecord, CopiesRecord, Cursor, GoneRecord, GroupRecord, PathRecord, PlaceRecord, WaitingRecord, put_name,
};
use super::super::super::span::{Batch, Column, Place, SHARED, Span};
use super::super::context::{Context, GivenUp};
use super::super::interned::Interned;
use super::super::memory::{Gone, Prefix};
use super::super::persist::{Restored, behind, known};
use super::{MAX_GROUPS, Worker};
use crate::{BlockHash, Error, ErrorKind, ExternalBlockHash, Result};

impl Worker {
    /// Writes everything that is held and remembered, a parent before its children.
    pub(in super::super) fn write(
        &self,
        out: &mut Vec<u8>,
        span: &Span,
        interned: &Interned,
        given_up: &HashMap<Column, GivenUp>,
    ) {
        out.extend([self.incomplete, self.spoke_of_other_media, self.has_two_names].map(u8::from));
        put_count(out, self.groups.len());
        for (idx, group) in &self.groups {
            GroupRecord { idx: *idx, group: group.clone() }.write(out);
        }

        let blocks = self.placed(span, interned);
        let unplaced = self.unplaced_records();
        let gone = self.gone_records(span, interned, given_up);
        let names = blocks.values().chain(&unplaced).map(|block| &block.name);
        let names = names.chain(gone.iter().filter_map(|gone| gone.name.as_ref()));
        let names = if self.covers.are_all_usual() { HashSet::new() } else { names.collect() };
        self.write_covers(out, &names, interned);
        put_count(out, blocks.len() + unplaced.len());
        blocks.values().chain(&unplaced).for_each(|block| block.write(out));
        put_count(out, gone.len());
        gone.iter().for_each(|gone| gone.write(out));

        let orphans = self.orphans.by_age();
        put_count(out, orphans.len());
        orphans.into_iter().for_each(|orphan| WaitingRecord(orphan.clone()).write(out));

        let mut waiting: Vec<_> = self.waiting.iter().collect();
        waiting.sort_unstable();
        put_count(out, waiting.len());
        waiting.into_iter().for_each(|name| put_name(out, name));
    }

    /// How many blocks these names cover.
    fn write_covers(&self, out: &mut Vec<u8>, names: &HashSet<&ExternalBlockHash>, interned: &Interned) {
        self.covers.write_usual(out);
        let others = self.covers.others().map(|(name, covers)| (interned.name(name), covers));
        let mut others: Vec<_> = others.filter(|(name, _)| names.contains(name)).collect();
        others.sort_unstable();
        put_count(out, others.len());
        for (name, covers) in others {
            put_name(out, &name);
            out.extend_from_slice(&covers.to_le_bytes());
        }
    }

    fn read_covers(&mut self, from: &mut Cursor<'_>, cx: &mut Context<'_>) -> Result<()> {
        self.covers.read_usual(from)?;
        for _ in 0..from.count(9 + 4, "number of names that cover another number of blocks")? {
            let name = cx.interned.keep(&from.name("name that covers another number of blocks")?);
            match from.u32("number of blocks that a name covers")? {
                0 => return Err(from.corrupt("a name that covers no block")),
                covers => self.covers.learn(&[name], covers),
            }
        }
        Ok(())
    }

    /// Blocks that have a place, by how deep they are.
    fn placed(&self, span: &Span, interned: &Interned) -> BTreeMap<(u32, ExternalBlockHash), BlockRecord> {
        let mut blocks = BTreeMap::<_, BlockRecord>::new();
        for kept in &self.columns {
            for place in span.residents(kept.column) {
                for (name, count) in span.names_of(&self.namer, kept.column, place) {
                    if name == 0 {
                        continue;
                    }
                    let path = path(span, place, kept.span);
                    let name = interned.name(name);
                    let depth = path.depth + path.digests.len() as u32;
                    let copies = CopiesRecord { group: kept.group, medium: kept.medium, span: kept.span, count };
                    let block = blocks.entry((depth, name.clone())).or_insert_with(|| BlockRecord {
                        name,
                        place: PlaceRecord::At(path.clone()),
                        copies: SmallVec::new(),
                    });
                    if let PlaceRecord::At(known) = &mut block.place
                        && known.digests.len() < path.digests.len()
                    {
                        *known = path;
                    }
                    block.copies.push(copies);
                    block.copies.sort_unstable();
                }
            }
        }
        blocks
    }

    fn unplaced_records(&self) -> Vec<BlockRecord> {
        let mut loose: Vec<_> = self.loose.iter().collect();
        loose.sort_unstable_by_key(|&(name, _)| name);
        let record = |(name, entry): (&ExternalBlockHash, &super::loose::Entry)| {
            let copies = entry.copies.iter().map(|copies| CopiesRecord {
                group: copies.group,
                medium: copies.medium,
                span: 1,
                count: copies.count,
            });
            let mut copies: SmallVec<[_; 2]> = copies.collect();
            copies.sort_unstable();
            let place = if entry.waits { PlaceRecord::Behind } else { PlaceRecord::Unknown };
            BlockRecord { name: name.clone(), place, copies }
        };
        loose.into_iter().map(record).collect()
    }

    /// What is remembered, and what will be when columns that were given up are swept.
    fn gone_records(&self, span: &Span, interned: &Interned, given_up: &HashMap<Column, GivenUp>) -> Vec<GoneRecord> {
        let mut all: Vec<Gone> = self.memory.lock().iter().collect();
        for (&column, given) in given_up.iter().filter(|(_, given)| given.worker == self.id && given.order > 0) {
            for place in span.residents(column) {
                all.extend(self.swept(given, super::super::super::span::Swept { column, place }, span));
            }
        }
        all.sort_by_key(|gone| gone.order);
        let record = |gone: Gone| GoneRecord {
            name: (gone.name != 0).then(|| interned.name(gone.name)),
            prefix: gone.prefix.map(|prefix| (prefix.digest, prefix.before, prefix.depth)),
            fate: gone.fate,
        };
        all.into_iter().map(record).collect()
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(in super::super) fn read(
        &mut self,
        from: &mut Cursor<'_>,
        restored: &mut Restored,
        cx: &mut Context<'_>,
    ) -> Result<()> {
        self.incomplete = from.bool("whether blocks are missing")?;
        self.spoke_of_other_media = from.bool("whether there are other media")?;
        self.has_two_names = from.bool("whether blocks have two names")?;
        for _ in 0..from.count(GroupRecord::LEAST, "number of groups")? {
            let GroupRecord { idx, group } = GroupRecord::read(from)?;
            if self.groups.last().is_some_and(|(last, _)| *last >= idx) || self.groups.len() == MAX_GROUPS {
                return Err(from.corrupt(format_args!("group {} is there twice or is one too many", idx.0)));
            }
            self.groups.push((idx, group));
        }
        self.read_covers(from, cx)?;
        let mut names = HashSet::new();
        for _ in 0..from.count(BlockRecord::LEAST, "number of blocks")? {
            let record = BlockRecord::read(from)?;
            if !names.insert(record.name.clone()) {
                return Err(from.corrupt(format_args!("block {} is there twice", record.name)));
            }
            fits(
                names.len(),
                cx.settings.max_blocks.saturating_add(cx.settings.max_remembered),
                "max_blocks and max_remembered",
            )?;
            self.read_block(record, from, restored, cx)?;
        }
        for _ in 0..from.count(GoneRecord::LEAST, "number of blocks that are gone")? {
            let GoneRecord { name, prefix, fate } = GoneRecord::read(from)?;
            let mut memory = self.memory.lock();
            fits(memory.len() + 1, cx.settings.max_remembered, "max_remembered")?;
            let name = name.map_or(0, |name| cx.interned.keep(&name));
            let prefix = prefix.map(|(digest, before, depth)| Prefix { digest, before, depth });
            let order = cx.next_order();
            memory.remember(Gone { name, domain: SHARED, prefix, fate, order });
        }
        // Whether more was remembered once is not written down.
        self.forgot |= self.memory.lock().len() >= cx.settings.max_remembered;
        for _ in 0..from.count(WaitingRecord::LEAST, "number of blocks that wait")? {
            let WaitingRecord(orphan) = WaitingRecord::read(from, cx.settings.block_size)?;
            fits(self.orphans.len() + 1, cx.settings.max_orphans, "max_orphans")?;
            let parent = orphan.parent_block_hash.clone().expect("what waits has a parent");
            self.orphans.keep(parent, orphan);
        }
        for _ in 0..from.count(9, "number of names that wait")? {
            self.waiting.insert(from.name("name on shared storage")?);
        }
        self.is_news = true;
        Ok(())
    }

    fn read_block(
        &mut self,
        record: BlockRecord,
        from: &Cursor<'_>,
        restored: &mut Restored,
        cx: &mut Context<'_>,
    ) -> Result<()> {
        let BlockRecord { name, place, mut copies } = record;
        fits(self.residents + copies.len(), cx.settings.max_blocks, "max_blocks")?;
        let PlaceRecord::At(path) = place else {
            self.residents += copies.len();
            self.loose.change(&name, |entry| {
                entry.waits = place == PlaceRecord::Behind;
                entry.copies = copies
                    .iter()
                    .map(|copies| super::loose::Copies {
                        group: copies.group,
                        medium: copies.medium,
                        count: copies.count,
                    })
                    .collect();
            });
            return Ok(());
        };
        let number = cx.interned.keep(&name);
        known(restored, &path, |place| cx.span.prefix(place), from)?;
        let mut place = None;
        // Who holds all that the name covers comes first: the others hold its last block alone.
        copies.sort_unstable_by_key(|copies| Reverse(copies.span));
        let covers = path.digests.len() as u32;
        if copies.first().is_some_and(|widest| widest.span < covers) {
            return Err(from.corrupt(format_args!("block {name} covers {covers} blocks, and no copy of it does")));
        }
        for CopiesRecord { group, medium, span, count } in copies {
            let span = span.min(covers);
            let kept = self.column(group, medium, span, cx).ok_or_else(|| from.corrupt("too many columns"))?;
            let column = self.columns[kept].column;
            let stored = match place {
                Some(place) => cx.span.hold_known(column, &mut self.namer, place, span, number),
                None => {
                    let batch = Batch { digests: &path.digests, names: &[number], span: covers };
                    cx.span.store(column, &mut self.namer, behind(restored, &path), batch)
                }
            };
            if stored.fresh != 1 {
                return Err(from.corrupt(format_args!("block {name} stands where another does")));
            }
            if place.is_none() {
                place = cx.span.find(&self.namer, number).map(|known| known.place);
                keep_places(cx.span, place, &path, restored);
            }
            let Some(place) = place else {
                return Err(from.corrupt(format_args!("block {name} stands nowhere")));
            };
            let more = count.saturating_sub(1);
            cx.span.copy(column, &self.namer, place, number, more);
            self.columns[kept].names += 1;
            self.columns[kept].copies += count as usize;
            self.residents += 1;
        }
        Ok(())
    }
}

/// Remembers where the blocks of a path are.
fn keep_places(span: &Span, place: Option<Place>, path: &PathRecord, restored: &mut Restored) {
    let mut next = place;
    for digest in path.digests.iter().rev() {
        let Some(place) = next else { return };
        restored.insert(digest.0, place);
        next = span.back(place);
    }
}

/// The blocks that a name covers, as far as they are there.
fn path(span: &Span, place: Place, covers: u32) -> PathRecord {
    let places: Vec<_> = span.covered(place, covers).collect();
    let (_, last_depth, _) = span.prefix(place);
    let (_, _, before) = span.prefix(places[places.len() - 1]);
    let digests = places.iter().rev().map(|&place| BlockHash(span.prefix(place).0)).collect();
    PathRecord { before, depth: last_depth - places.len() as u32, digests }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u64).to_le_bytes());
}

fn fits(len: usize, limit: usize, name: &'static str) -> Result<()> {
    if len <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Exhausted, format!("the snapshot holds {len} and more; {name} allows {limit}")))
}
