//! What stands in a snapshot of each worker's blocks: those that it has a name for, those that are gone, and those that
//! wait for their parent.

use smallvec::SmallVec;

use super::super::BlockFate;
use super::Cursor;
use super::cursor::{put_long, put_name, put_option};
use crate::event::{BlockStored, EventExtraKey};
use crate::{BlockHash, ExternalBlockHash, GroupIdx, Medium, Result};

/// A block that the worker's engine has a name for.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct BlockRecord {
    pub(in super::super) name: ExternalBlockHash,
    pub(in super::super) place: PlaceRecord,
    /// None, when it is gone and remembered.
    pub(in super::super) copies: SmallVec<[CopiesRecord; 2]>,
}

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum PlaceRecord {
    At {
        block: BlockHash,
        /// The block before it; for the first of a prompt, the root of the scheme.
        parent: BlockHash,
        /// How many blocks the prefix that it ends has, 1 for the first.
        depth: u64,
    },
    /// Behind a parent that has no place.
    Behind,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct CopiesRecord {
    pub(in super::super) group: GroupIdx,
    pub(in super::super) medium: Medium,
    pub(in super::super) count: u32,
}

impl BlockRecord {
    /// The bytes that one takes at least.
    pub(in super::super) const LEAST: usize = 9 + 1 + 8;

    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        put_name(out, &self.name);
        match self.place {
            PlaceRecord::Unknown => out.push(0),
            PlaceRecord::Behind => out.push(1),
            PlaceRecord::At { block, parent, depth } => {
                out.push(2);
                [block.0, parent.0, depth].iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
            }
        }
        out.extend_from_slice(&(self.copies.len() as u64).to_le_bytes());
        for copies in &self.copies {
            out.extend_from_slice(&copies.group.0.to_le_bytes());
            out.push(medium_byte(copies.medium));
            out.extend_from_slice(&copies.count.to_le_bytes());
        }
    }

    pub(in super::super) fn read(from: &mut Cursor<'_>) -> Result<Self> {
        let name = from.name("block's name")?;
        let place = match from.u8("place")? {
            0 => PlaceRecord::Unknown,
            1 => PlaceRecord::Behind,
            2 => PlaceRecord::At {
                block: BlockHash(from.u64("block's hash")?),
                parent: BlockHash(from.u64("parent's hash")?),
                depth: from.u64("depth")?,
            },
            other => return Err(from.corrupt(format_args!("place {other} of block {name}; expected 0 to 2"))),
        };
        let count = from.count(9, "number of places with copies")?;
        let mut copies = SmallVec::<[CopiesRecord; 2]>::new();
        for _ in 0..count {
            let group = GroupIdx(from.u32("group")?);
            let medium = read_medium(from)?;
            let count = from.u32("number of copies")?;
            if count == 0 {
                return Err(from.corrupt(format_args!("no copies of block {name} on {medium}; expected at least 1")));
            }
            copies.push(CopiesRecord { group, medium, count });
        }
        let mut places: SmallVec<[_; 2]> = copies.iter().map(|copies| (copies.group, copies.medium)).collect();
        places.sort_unstable();
        if places.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(from.corrupt(format_args!("copies of block {name} in one place are counted twice")));
        }
        Ok(Self { name, place, copies })
    }
}

/// A removal that is remembered.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct GoneRecord {
    pub(in super::super) name: ExternalBlockHash,
    /// Our own name for the block, where its place was known.
    pub(in super::super) block: Option<BlockHash>,
    /// What became of it; `None` when a later removal of the same block says it.
    pub(in super::super) fate: Option<BlockFate>,
}

impl GoneRecord {
    /// The bytes that one takes at least.
    pub(in super::super) const LEAST: usize = 9 + 1 + 1;

    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        put_name(out, &self.name);
        put_option(out, self.block, |out, block| out.extend_from_slice(&block.0.to_le_bytes()));
        match self.fate {
            Some(BlockFate::Cleared) => out.push(1),
            Some(BlockFate::Evicted { at }) => {
                out.push(2);
                out.extend_from_slice(&at.to_le_bytes());
            }
            // What is not the fate of a block that was removed.
            _ => out.push(0),
        }
    }

    pub(in super::super) fn read(from: &mut Cursor<'_>) -> Result<Self> {
        let name = from.name("name of a block that is gone")?;
        let block = from.option("hash of a block that is gone", |from, what| from.u64(what).map(BlockHash))?;
        let fate = match from.u8("fate")? {
            0 => None,
            1 => Some(BlockFate::Cleared),
            2 => Some(BlockFate::Evicted { at: from.f64("time of a removal")? }),
            other => return Err(from.corrupt(format_args!("fate {other} of block {name}; expected 0 to 2"))),
        };
        Ok(Self { name, block, fate })
    }
}

/// A block that waits for its parent, as the event that would have stored it alone.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct WaitingRecord(pub(in super::super) BlockStored);

impl WaitingRecord {
    /// The bytes that one takes at least, beside its tokens.
    pub(in super::super) const LEAST: usize = 9 + 9 + 8 + 1 + 1;

    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        let Self(stored) = self;
        stored.block_hashes.iter().chain(&stored.parent_block_hash).for_each(|name| put_name(out, name));
        stored.token_ids.iter().for_each(|token| out.extend_from_slice(&token.to_le_bytes()));
        let keys = stored.extra_keys.first().map_or(&[][..], Vec::as_slice);
        out.extend_from_slice(&(keys.len() as u64).to_le_bytes());
        for key in keys {
            write_key(out, key);
        }
        put_option(out, stored.lora_id, |out, id| out.extend_from_slice(&id.to_le_bytes()));
        put_option(out, stored.lora_name.as_deref(), |out, name| put_long(out, name.as_bytes()));
    }

    pub(in super::super) fn read(from: &mut Cursor<'_>, block_size: usize) -> Result<Self> {
        let block_hashes = vec![from.name("name of a block that waits")?];
        let parent_block_hash = Some(from.name("name of a parent")?);
        let bytes = block_size.saturating_mul(4);
        let token_ids = from
            .take(bytes, "tokens")?
            .chunks_exact(4)
            .map(|token| u32::from_le_bytes(*token.first_chunk().expect("a token has 4 bytes")));
        let token_ids = token_ids.collect();
        let count = from.count(9, "number of extra keys")?;
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push(read_key(from)?);
        }
        let extra_keys = if keys.is_empty() { Vec::new() } else { vec![keys] };
        let lora_id = from.option("adapter's number", Cursor::i64)?;
        let lora_name = from.option("adapter's name", Cursor::text)?.map(Into::into);
        Ok(Self(BlockStored {
            block_hashes,
            parent_block_hash,
            token_ids,
            extra_keys,
            lora_id,
            lora_name,
            ..BlockStored::default()
        }))
    }
}

fn write_key(out: &mut Vec<u8>, key: &EventExtraKey) {
    match key {
        EventExtraKey::Digest(digest) => {
            out.push(0);
            put_long(out, digest);
        }
        EventExtraKey::Multimodal { identifier, offset } => {
            out.push(1);
            put_long(out, identifier.as_bytes());
            out.extend_from_slice(&offset.to_le_bytes());
        }
        EventExtraKey::Text(text) => {
            out.push(2);
            put_long(out, text.as_bytes());
        }
    }
}

fn read_key(from: &mut Cursor<'_>) -> Result<EventExtraKey> {
    match from.u8("kind of an extra key")? {
        0 => from.long("digest").map(|digest| EventExtraKey::Digest(digest.into())),
        1 => {
            let identifier = from.text("item's identifier")?.into();
            Ok(EventExtraKey::Multimodal { identifier, offset: from.i64("item's offset")? })
        }
        2 => from.text("extra key").map(|text| EventExtraKey::Text(text.into())),
        other => Err(from.corrupt(format_args!("extra key of kind {other}; expected 0 to 2"))),
    }
}

const fn medium_byte(medium: Medium) -> u8 {
    match medium {
        Medium::Gpu => 0,
        Medium::Cpu => 1,
        Medium::Storage => 2,
    }
}

fn read_medium(from: &mut Cursor<'_>) -> Result<Medium> {
    let byte = from.u8("medium")?;
    let medium = Medium::ALL.into_iter().find(|&medium| medium_byte(medium) == byte);
    medium.ok_or_else(|| from.corrupt(format_args!("medium {byte}; expected 0 to 2")))
}
