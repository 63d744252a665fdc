//! What one event means, as events that every engine could have sent.

use std::mem;

use super::TrtllmDecoder;
use super::places::{Key, Place};
use super::said::{Block, Happened, Said};
use crate::event::fault::Fault;
use crate::event::{BlockRemoved, BlockStored, EventExtraKey, KvEvent, SpecKind};
use crate::{ExternalBlockHash, GroupIdx, Medium};

/// How many ranks a decoder knows. What later ones say is an error.
pub(super) const MAX_RANKS: usize = 1024;

impl TrtllmDecoder {
    /// Adds what an event means to `events`. What it says before a fault is told all the same.
    pub(super) fn tell(&mut self, said: Said, start: usize, events: &mut Vec<KvEvent>) -> Result<(), Fault> {
        let full = self.is_full(&said, start)?;
        let Some((at, happened)) = said.happened else {
            return Err(Fault::new(start, "data is missing").in_field("data"));
        };
        let sliding_window = said.window.filter(|_| !full);
        let about = BlockStored {
            group_idx: GroupIdx(said.layer_group.or(sliding_window).unwrap_or_default()),
            spec_kind: if full { SpecKind::FullAttention } else { SpecKind::SlidingWindow },
            sliding_window,
            ..BlockStored::default()
        };
        match happened {
            Happened::Created => self.places.clear(said.rank),
            Happened::Removed(blocks) => self.tell_removed(said.rank, &about, blocks, events),
            Happened::Stored { parent, blocks } => self.tell_stored(said.rank, &about, at, parent, blocks, events)?,
            Happened::Updated { block, levels: Some((old, new)) } => {
                let levels = (medium(old, at)?, medium(new, at)?);
                self.tell_moved(said.rank, &about, at, block, levels, events)?;
            }
            Happened::Updated { levels: None, .. } => {}
        }
        Ok(())
    }

    /// Whether the group that an event is about attends to everything before, as far as is known.
    fn is_full(&mut self, said: &Said, start: usize) -> Result<bool, Fault> {
        let Some(window) = said.window else { return Ok(true) };
        let announced = matches!(said.happened, Some((_, Happened::Created)));
        if !self.full_windows.contains_key(&said.rank) && self.full_windows.len() == MAX_RANKS {
            return Err(Fault::new(start, format!("no room for another rank: there are {MAX_RANKS}")));
        }
        let longest = self.full_windows.entry(said.rank).or_insert(window);
        if announced && said.event_id == Some(0) {
            *longest = window;
        }
        if window <= *longest {
            return Ok(window == *longest);
        }
        let shorter = mem::replace(longest, window);
        if announced {
            return Ok(true);
        }
        let message = format!("a window of {window} tokens, where one of {shorter} was taken for full attention");
        Err(Fault::new(start, message).in_field("window_size"))
    }

    fn tell_removed(
        &mut self,
        rank: Option<u32>,
        about: &BlockStored,
        blocks: Vec<ExternalBlockHash>,
        events: &mut Vec<KvEvent>,
    ) {
        for block in blocks {
            let key = (about.group_idx, block);
            let medium = match self.places.take(rank, &key) {
                Some(Place::On(medium)) => medium,
                Some(Place::Untold) => continue,
                None => Medium::Gpu,
            };
            match events.last_mut() {
                Some(KvEvent::BlockRemoved(removed)) if removed.medium == medium => removed.block_hashes.push(key.1),
                _ => events.push(removed(about, medium, key.1)),
            }
        }
    }

    fn tell_stored(
        &mut self,
        rank: Option<u32>,
        about: &BlockStored,
        at: usize,
        mut parent: Option<ExternalBlockHash>,
        blocks: Vec<(ExternalBlockHash, Block)>,
        events: &mut Vec<KvEvent>,
    ) -> Result<(), Fault> {
        let (size, mut no_room) = (self.block_size as usize, Ok(()));
        let last = blocks.len().saturating_sub(1);
        for (index, (name, block)) in blocks.into_iter().enumerate() {
            let tokens = block.tokens.len();
            if tokens > size || (tokens < size && index < last) {
                let message = format!("block {index} of {} has {tokens} tokens, expected {size}", last + 1);
                let fault = Fault::new(at, message).in_field("tokens");
                return no_room.and(Err(fault));
            }
            let key = (about.group_idx, name);
            if tokens < size {
                let remembered = self.remember(rank, key, Place::Untold, at);
                return no_room.and(remembered);
            }
            let medium = medium(block.level, at)?;
            let remembered = self.remember(rank, key.clone(), Place::On(medium), at);
            no_room = no_room.and(remembered);
            let stored = self.described(about, medium, parent.take(), block);
            parent = Some(key.1.clone());
            match events.last_mut() {
                Some(KvEvent::BlockStored(before)) if goes_on(before, &stored) => before.go_on(key.1, stored),
                _ => events.push(KvEvent::BlockStored(BlockStored { block_hashes: vec![key.1], ..stored })),
            }
        }
        no_room
    }

    /// A block as an event of its own, but for its name.
    fn described(
        &self,
        about: &BlockStored,
        medium: Medium,
        parent: Option<ExternalBlockHash>,
        block: Block,
    ) -> BlockStored {
        let begins_a_prompt = parent.is_none();
        let mut stored = BlockStored {
            parent_block_hash: parent,
            token_ids: block.tokens,
            block_size: self.block_size,
            lora_id: block.lora_id,
            lora_name: block.lora_name,
            cache_salt: block.cache_salt,
            medium,
            ..about.clone()
        };
        if block.items.is_empty() && block.extra_ids.is_empty() {
            return stored;
        }
        let mut keys = Vec::new();
        keys.extend(stored.adapter().map(|adapter| EventExtraKey::Text(adapter.into())));
        let item = |(identifier, before): (_, i64)| EventExtraKey::Multimodal { identifier, offset: -before };
        keys.extend(block.items.into_iter().map(item));
        let salt = stored.cache_salt.clone().filter(|salt| begins_a_prompt && !salt.is_empty());
        keys.extend(salt.map(EventExtraKey::Text));
        if !block.extra_ids.is_empty() {
            keys.push(EventExtraKey::Digest(block.extra_ids));
        }
        stored.extra_keys = vec![keys];
        stored
    }

    /// A block that went from one medium to another. It is stored there before it is removed here, so that what is known
    /// of it is not forgotten in between.
    fn tell_moved(
        &mut self,
        rank: Option<u32>,
        about: &BlockStored,
        at: usize,
        block: ExternalBlockHash,
        (old, new): (Medium, Medium),
        events: &mut Vec<KvEvent>,
    ) -> Result<(), Fault> {
        let key = (about.group_idx, block);
        let old = match self.places.get(rank, &key) {
            Some(Place::On(medium)) => medium,
            Some(Place::Untold) => return Ok(()),
            None => old,
        };
        let remembered = self.remember(rank, key.clone(), Place::On(new), at);
        if old != new {
            let stored = BlockStored { block_hashes: vec![key.1.clone()], medium: new, ..about.clone() };
            events.extend([KvEvent::BlockStored(stored), removed(about, old, key.1)]);
        }
        remembered
    }

    fn remember(&mut self, rank: Option<u32>, key: Key, place: Place, at: usize) -> Result<(), Fault> {
        if self.places.set(rank, key, place) {
            return Ok(());
        }
        self.places_dropped += 1;
        let limit = self.places.limit();
        Err(Fault::new(at, format!("no room to remember where a block lies: there are {limit}"))
            .in_field("cache_level"))
    }
}

/// Whether one event can say of these blocks what two would: that `stored` follows those of `before`.
fn goes_on(before: &BlockStored, stored: &BlockStored) -> bool {
    before.medium == stored.medium
        && before.block_hashes.last() == stored.parent_block_hash.as_ref()
        && (&before.lora_id, &before.lora_name, &before.cache_salt)
            == (&stored.lora_id, &stored.lora_name, &stored.cache_salt)
        && before.extra_keys.is_empty() == stored.extra_keys.is_empty()
}

impl BlockStored {
    fn go_on(&mut self, name: ExternalBlockHash, next: Self) {
        self.block_hashes.push(name);
        self.token_ids.extend(next.token_ids);
        self.extra_keys.extend(next.extra_keys);
    }
}

fn removed(about: &BlockStored, medium: Medium, block: ExternalBlockHash) -> KvEvent {
    let block_hashes = vec![block];
    KvEvent::BlockRemoved(BlockRemoved { block_hashes, medium, group_idx: about.group_idx, ..BlockRemoved::default() })
}

/// What a level is: those of the engine's memory manager, nearest first.
fn medium(level: u32, at: usize) -> Result<Medium, Fault> {
    match Medium::ALL.get(level as usize) {
        Some(&medium) => Ok(medium),
        None => Err(Fault::new(at, format!("cache level {level}, expected 0 to 2")).in_field("cache_level")),
    }
}
