//! What one worker holds, as records of a snapshot and back.

use super::super::super::snapshot::{BlockRecord, CopiesRecord, Cursor, GoneRecord, PlaceRecord, WaitingRecord};
use super::super::named::{Copies, Named, Place, Prefix};
use super::{Context, Holdings, MAX_GROUPS, show};
use crate::{Error, ErrorKind, GroupIdx, Result, WorkerId};

impl Holdings {
    /// Writes everything that is held and remembered, a parent before its children.
    pub(in super::super) fn write(&self, out: &mut Vec<u8>, cx: Context<'_>) {
        out.push(self.incomplete.into());
        put_count(out, self.full_groups.len());
        self.full_groups.iter().for_each(|group| out.extend_from_slice(&group.0.to_le_bytes()));

        let mut blocks: Vec<_> = self.names.iter().collect();
        blocks.sort_unstable_by_key(|&(name, named)| (named.prefix().map_or(usize::MAX, |prefix| prefix.len), name));
        put_count(out, blocks.len());
        for (name, named) in blocks {
            let copies =
                named.copies().iter().map(|&Copies { group, medium, count }| CopiesRecord { group, medium, count });
            BlockRecord { name: name.clone(), place: recorded(named.place), copies: copies.collect() }.write(out);
        }

        put_count(out, self.memory.len());
        self.memory.records(self.worker, cx.shared).for_each(|gone| gone.write(out));

        let waiting = self.orphans.by_age();
        put_count(out, waiting.len());
        waiting.into_iter().for_each(|orphan| WaitingRecord(orphan.clone()).write(out));
    }

    /// Reads what [`write`](Self::write) wrote, and lets readers see it.
    pub(in super::super) fn read(worker: WorkerId, from: &mut Cursor<'_>, cx: Context<'_>) -> Result<Self> {
        let mut holdings = Self::new(worker);
        holdings.incomplete = from.bool("whether blocks are missing")?;
        for _ in 0..from.count(4, "number of groups")? {
            let group = GroupIdx(from.u32("group")?);
            if holdings.full_groups.contains(&group) || holdings.full_groups.len() == MAX_GROUPS {
                return Err(from.corrupt(format_args!("group {} is there twice or is one too many", group.0)));
            }
            holdings.full_groups.push(group);
        }
        for _ in 0..from.count(BlockRecord::LEAST, "number of blocks")? {
            holdings.read_block(from, cx)?;
        }
        for _ in 0..from.count(GoneRecord::LEAST, "number of blocks that are gone")? {
            let gone = GoneRecord::read(from)?;
            fits(holdings.memory.len() + 1, cx.settings.max_remembered, "max_remembered")?;
            let (name, block) = (gone.name, gone.block);
            let removal = holdings.memory.take_up(worker, name.clone(), block, gone.fate, cx.shared);
            if let Some(named) = holdings.names.get_mut(&name) {
                named.removal = removal;
            }
        }
        // Whether more was remembered once is not written down.
        holdings.forgot = holdings.memory.len() >= cx.settings.max_remembered;
        if let Some((name, _)) = holdings.names.iter().find(|(_, named)| !named.is_held() && named.removal == 0) {
            return Err(from.corrupt(format_args!("block {name} is not held, and not remembered either")));
        }
        for _ in 0..from.count(WaitingRecord::LEAST, "number of blocks that wait")? {
            let WaitingRecord(orphan) = WaitingRecord::read(from, cx.settings.block_size)?;
            fits(holdings.orphans.len() + 1, cx.settings.max_orphans, "max_orphans")?;
            let parent = orphan.parent_block_hash.clone().expect("what waits has a parent");
            holdings.orphans.keep(parent, orphan);
        }
        Ok(holdings)
    }

    fn read_block(&mut self, from: &mut Cursor<'_>, cx: Context<'_>) -> Result<()> {
        let BlockRecord { name, place, copies } = BlockRecord::read(from)?;
        let copies = copies.into_iter().map(|CopiesRecord { group, medium, count }| Copies { group, medium, count });
        let mut named = Named::with_copies(copies);
        named.place = match place {
            PlaceRecord::At { block, parent, depth } => {
                let len = usize::try_from(depth).ok().filter(|&len| len > 0);
                let len = len.ok_or_else(|| from.corrupt(format_args!("depth {depth} of block {name}")))?;
                Place::At(Prefix { block, parent, len })
            }
            PlaceRecord::Behind => Place::Behind,
            PlaceRecord::Unknown => Place::Unknown,
        };
        let held = named.held();
        fits(self.held.residents + held.residents, cx.settings.max_blocks, "max_blocks")?;
        let names = cx.settings.max_blocks.saturating_add(cx.settings.max_remembered);
        fits(self.names.len() + 1, names, "max_blocks and max_remembered")?;
        if self.names.contains_key(&name) {
            return Err(from.corrupt(format_args!("block {name} is there twice")));
        }
        show(&mut named, &self.full_groups, self.worker, cx);
        self.held += held;
        self.names.insert(name, named);
        Ok(())
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u64).to_le_bytes());
}

const fn recorded(place: Place) -> PlaceRecord {
    match place {
        Place::At(Prefix { block, parent, len }) => PlaceRecord::At { block, parent, depth: len as u64 },
        Place::Behind => PlaceRecord::Behind,
        Place::Unknown => PlaceRecord::Unknown,
    }
}

fn fits(len: usize, limit: usize, name: &'static str) -> Result<()> {
    if len <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Exhausted, format!("the snapshot holds {len} and more; {name} allows {limit}")))
}
