//! What stands in a snapshot of each worker's blocks: those that it has a name for, those that are gone, and those that
//! wait for their parent.

use smallvec::SmallVec;

use super::super::BlockFate;
use super::super::groups::{Group, Kind};
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
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum PlaceRecord {
    At(PathRecord),
    /// Behind a parent that has no place.
    Behind,
    Unknown,
}

/// The blocks that a name covers.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct PathRecord {
    /// The digest of the block before them; for the first of a prompt, the root of the scheme.
    pub(in super::super) before: u64,
    /// How many blocks come before them.
    pub(in super::super) depth: u32,
    /// Their digests, at least one.
    pub(in super::super) digests: SmallVec<[BlockHash; 1]>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in super::super) struct CopiesRecord {
    pub(in super::super) group: GroupIdx,
    pub(in super::super) medium: Medium,
    /// How many blocks each name of its kind covers, at least 1.
    pub(in super::super) span: u32,
    pub(in super::super) count: u32,
}

impl BlockRecord {
    /// The bytes that one takes at least.
    pub(in super::super) const LEAST: usize = 9 + 1 + 8;

    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        put_name(out, &self.name);
        match &self.place {
            PlaceRecord::Unknown => out.push(0),
            PlaceRecord::Behind => out.push(1),
            PlaceRecord::At(path) => {
                out.push(2);
                path.write(out);
            }
        }
        out.extend_from_slice(&(self.copies.len() as u64).to_le_bytes());
        for copies in &self.copies {
            out.extend_from_slice(&copies.group.0.to_le_bytes());
            out.push(medium_byte(copies.medium));
            out.extend_from_slice(&copies.span.to_le_bytes());
            out.extend_from_slice(&copies.count.to_le_bytes());
        }
    }

    pub(in super::super) fn read(from: &mut Cursor<'_>) -> Result<Self> {
        let name = from.name("block's name")?;
        let place = match from.u8("place")? {
            0 => PlaceRecord::Unknown,
            1 => PlaceRecord::Behind,
            2 => PlaceRecord::At(PathRecord::read(from)?),
            other => return Err(from.corrupt(format_args!("place {other} of block {name}; expected 0 to 2"))),
        };
        let count = from.count(13, "number of places with copies")?;
        let mut copies = SmallVec::<[CopiesRecord; 2]>::new();
        for _ in 0..count {
            let group = GroupIdx(from.u32("group")?);
            let medium = read_medium(from)?;
            let span = from.u32("number of blocks that a name covers")?;
            let count = from.u32("number of copies")?;
            if count == 0 || span == 0 {
                let what =
                    format_args!("{count} copies of block {name} on {medium} that cover {span}; expected 1 or more");
                return Err(from.corrupt(what));
            }
            copies.push(CopiesRecord { group, medium, span, count });
        }
        let mut places: SmallVec<[_; 2]> =
            copies.iter().map(|copies| (copies.group, copies.medium, copies.span)).collect();
        places.sort_unstable();
        if places.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(from.corrupt(format_args!("copies of block {name} in one place are counted twice")));
        }
        Ok(Self { name, place, copies })
    }
}

impl PathRecord {
    /// The bytes that one takes at least.
    pub(in super::super) const LEAST: usize = 8 + 4 + 8 + 8;

    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before.to_le_bytes());
        out.extend_from_slice(&self.depth.to_le_bytes());
        out.extend_from_slice(&(self.digests.len() as u64).to_le_bytes());
        self.digests.iter().for_each(|digest| out.extend_from_slice(&digest.0.to_le_bytes()));
    }

    pub(in super::super) fn read(from: &mut Cursor<'_>) -> Result<Self> {
        let before = from.u64("digest before a block")?;
        let depth = from.u32("depth")?;
        let count = from.count(8, "number of blocks that a name covers")?;
        let mut digests = SmallVec::new();
        for _ in 0..count {
            digests.push(BlockHash(from.u64("block's digest")?));
        }
        if digests.is_empty() || depth.checked_add(count as u32).is_none_or(|depth| depth > MAX_DEPTH) {
            return Err(
                from.corrupt(format_args!("{count} blocks behind {depth}; expected 1 or more, {MAX_DEPTH} in all"))
            );
        }
        Ok(Self { before, depth, digests })
    }
}

/// The longest prompt that a snapshot tells of, in blocks.
const MAX_DEPTH: u32 = 1 << 30;

/// A removal that is remembered.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct GoneRecord {
    /// What the engine called it; `None` when that means nothing any longer.
    pub(in super::super) name: Option<ExternalBlockHash>,
    /// Where it stood: its digest, the one before it, and how many blocks the prefix has that it ends.
    pub(in super::super) prefix: Option<(u64, u64, u32)>,
    /// What became of it; `None` when its place was not known when it went.
    pub(in super::super) fate: Option<BlockFate>,
}

impl GoneRecord {
    /// The bytes that one takes at least.
    pub(in super::super) const LEAST: usize = 1 + 1 + 1;

    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        put_option(out, self.name.as_ref(), put_name);
        put_option(out, self.prefix, |out, (digest, before, depth)| {
            [digest, before].iter().for_each(|digest| out.extend_from_slice(&digest.to_le_bytes()));
            out.extend_from_slice(&depth.to_le_bytes());
        });
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
        let name = from.option("name of a block that is gone", Cursor::name)?;
        let prefix = from.option("place of a block that is gone", |from, what| {
            let prefix = (from.u64(what)?, from.u64(what)?, from.u32(what)?);
            if prefix.2 == 0 || prefix.2 > MAX_DEPTH {
                return Err(from.corrupt(format_args!("{what} with depth {}; expected 1 to {MAX_DEPTH}", prefix.2)));
            }
            Ok(prefix)
        })?;
        let fate = match from.u8("fate")? {
            0 => None,
            1 => Some(BlockFate::Cleared),
            2 => Some(BlockFate::Evicted { at: from.f64("time of a removal")? }),
            other => return Err(from.corrupt(format_args!("fate {other} of a block; expected 0 to 2"))),
        };
        Ok(Self { name, prefix, fate })
    }
}

/// A block that waits for its parent, as the event that would have stored it alone.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct WaitingRecord(pub(in super::super) BlockStored);

impl WaitingRecord {
    /// The bytes that one takes at least, beside its tokens.
    pub(in super::super) const LEAST: usize = 9 + 9 + 4 + 8 + 1 + 1;

    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        let Self(stored) = self;
        stored.block_hashes.iter().chain(&stored.parent_block_hash).for_each(|name| put_name(out, name));
        out.extend_from_slice(&stored.block_size.to_le_bytes());
        stored.token_ids.iter().for_each(|token| out.extend_from_slice(&token.to_le_bytes()));
        let keys = stored.extra_keys.first().map_or(&[][..], Vec::as_slice);
        out.extend_from_slice(&(keys.len() as u64).to_le_bytes());
        for key in keys {
            write_key(out, key);
        }
        put_option(out, stored.lora_id, |out, id| out.extend_from_slice(&id.to_le_bytes()));
        put_option(out, stored.lora_name.as_deref(), |out, name| put_long(out, name.as_bytes()));
    }

    pub(in super::super) fn read(from: &mut Cursor<'_>, unit: usize) -> Result<Self> {
        let block_hashes = vec![from.name("name of a block that waits")?];
        let parent_block_hash = Some(from.name("name of a parent")?);
        let block_size = from.u32("tokens of a block")?;
        if block_size == 0 || !(block_size as usize).is_multiple_of(unit) {
            return Err(from.corrupt(format_args!("a block of {block_size} tokens; expected a multiple of {unit}")));
        }
        let bytes = (block_size as usize).saturating_mul(4);
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
            block_size,
            extra_keys,
            lora_id,
            lora_name,
            ..BlockStored::default()
        }))
    }
}

/// One of a worker's cache groups.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct GroupRecord {
    pub(in super::super) idx: GroupIdx,
    pub(in super::super) group: Group,
}

impl GroupRecord {
    /// The bytes that one takes at least.
    pub(in super::super) const LEAST: usize = 4 + 1 + 4 + 8;

    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.idx.0.to_le_bytes());
        let (kind, window) = match self.group.kind {
            Kind::Full => (0, 0),
            Kind::State => (1, 0),
            Kind::Window(window) => (2, window),
        };
        out.push(kind);
        out.extend_from_slice(&window.to_le_bytes());
        out.extend_from_slice(&(self.group.spans.len() as u64).to_le_bytes());
        self.group.spans.iter().for_each(|span| out.extend_from_slice(&span.to_le_bytes()));
    }

    pub(in super::super) fn read(from: &mut Cursor<'_>) -> Result<Self> {
        let idx = GroupIdx(from.u32("group")?);
        let kind = match (from.u8("kind of a group")?, from.u32("window")?) {
            (0, 0) => Kind::Full,
            (1, 0) => Kind::State,
            (2, window) if window > 0 => Kind::Window(window),
            (kind, window) => return Err(from.corrupt(format_args!("kind {kind} of a group with window {window}"))),
        };
        let mut group = Group::new(kind);
        for _ in 0..from.count(4, "number of block sizes")? {
            let span = from.u32("number of blocks that a name covers")?;
            if span == 0 || !group.add_span(span) {
                return Err(
                    from.corrupt(format_args!("names that cover {span} blocks; expected each number once, and not 0"))
                );
            }
        }
        Ok(Self { idx, group })
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
