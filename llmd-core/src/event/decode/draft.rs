//! An event while its fields come in, in whatever order.

use super::cursor::Cursor;
use super::field::{Field, REMOVED, STORED};
use super::value;
use crate::event::fault::{Fault, quoted};
use crate::event::{BlockRemoved, BlockStored, KvEvent, SpecKind};
use crate::{GroupIdx, Locality, Medium};

/// What an event says happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    AllBlocksCleared,
    BlockRemoved,
    BlockStored,
}

impl Kind {
    /// Reads the type of an event.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Fault> {
        let start = cursor.at();
        match value::text(cursor)? {
            Some("AllBlocksCleared") => Ok(Self::AllBlocksCleared),
            Some("BlockRemoved") => Ok(Self::BlockRemoved),
            Some("BlockStored") => Ok(Self::BlockStored),
            Some(other) => Err(Fault::new(start, format!("unknown event type {}", quoted(other)))),
            None => Err(Fault::new(start, "expected an event type, found nil")),
        }
    }

    /// The fields of such an event where it is an array, in order.
    pub(super) const fn array_fields(self) -> &'static [Field] {
        match self {
            Self::AllBlocksCleared => &[],
            Self::BlockRemoved => &REMOVED,
            Self::BlockStored => &STORED,
        }
    }

    /// Whether such an event has the field, as far as we know.
    pub(super) fn has(self, field: Field) -> bool {
        match self {
            Self::AllBlocksCleared => false,
            Self::BlockRemoved => REMOVED.contains(&field),
            Self::BlockStored => true,
        }
    }
}

/// An event while its fields come in. What is not said has its default; what is said twice counts the last time.
///
/// A stored event has every field that any event has, and so holds those of the others too.
#[derive(Debug, Default)]
pub(super) struct Draft {
    event: BlockStored,
    block_hashes: Option<Place>,
    token_ids: Option<Place>,
    block_size: Option<Place>,
    extra_keys: Option<Place>,
}

/// Where a field's value begins.
type Place = usize;

impl Draft {
    /// Reads the value of a field.
    pub(super) fn read(&mut self, field: Field, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        self.value(field, cursor).map_err(|fault| fault.in_field(field.name()))
    }

    fn value(&mut self, field: Field, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        let start = cursor.at();
        let event = &mut self.event;
        match field {
            Field::BlockHashes => {
                event.block_hashes = value::block_hashes(cursor)?;
                self.block_hashes = Some(start);
            }
            Field::BlockSize => {
                event.block_size = value::unsigned(start, cursor.head()?)?;
                self.block_size = Some(start);
            }
            Field::CacheSalt => event.cache_salt = value::text(cursor)?.map(Into::into),
            Field::ExtraKeys => {
                event.extra_keys = value::extra_keys(cursor)?;
                self.extra_keys = Some(start);
            }
            Field::GroupIdx => event.group_idx = GroupIdx(value::number(cursor)?.unwrap_or_default()),
            Field::Locality => event.locality = word(cursor, "locality", Locality::from_wire)?,
            Field::LoraId => event.lora_id = value::signed_number(cursor)?,
            Field::LoraName => event.lora_name = value::text(cursor)?.map(Into::into),
            Field::Medium => event.medium = word(cursor, "medium", Medium::from_wire)?,
            Field::Ownership => event.ownership = value::text(cursor)?.map(Into::into),
            Field::ParentBlockHash => event.parent_block_hash = value::block_hash(cursor)?,
            Field::SessionId => event.session_id = value::text(cursor)?.map(Into::into),
            Field::SlidingWindow => event.sliding_window = value::number(cursor)?,
            Field::SpecKind => event.spec_kind = value::text(cursor)?.map(SpecKind::from_wire).unwrap_or_default(),
            Field::TokenIds => {
                event.token_ids = value::token_ids(cursor)?;
                self.token_ids = Some(start);
            }
        }
        Ok(())
    }

    /// The event, of which nothing more comes. `start` is where it begins.
    pub(super) fn finish(self, kind: Kind, start: Place) -> Result<KvEvent, Fault> {
        match kind {
            Kind::AllBlocksCleared => Ok(KvEvent::AllBlocksCleared),
            Kind::BlockRemoved => self.removed(start).map(KvEvent::BlockRemoved),
            Kind::BlockStored => self.stored(start).map(KvEvent::BlockStored),
        }
    }

    fn removed(self, start: Place) -> Result<BlockRemoved, Fault> {
        said(self.block_hashes, Field::BlockHashes, start)?;
        let BlockStored { block_hashes, medium, group_idx, locality, ownership, .. } = self.event;
        Ok(BlockRemoved { block_hashes, medium, group_idx, locality, ownership })
    }

    fn stored(self, start: Place) -> Result<BlockStored, Fault> {
        said(self.block_hashes, Field::BlockHashes, start)?;
        said(self.token_ids, Field::TokenIds, start)?;
        let block_size = said(self.block_size, Field::BlockSize, start)?;
        let event = self.event;
        if event.block_size == 0 && !event.token_ids.is_empty() {
            let message = format!("a block size of 0, where there are {} tokens", event.token_ids.len());
            return Err(Fault::new(block_size, message).in_field(Field::BlockSize.name()));
        }
        let (keys, blocks) = (event.extra_keys.len(), event.block_hashes.len());
        if let Some(place) = self.extra_keys
            && keys != 0
            && keys != blocks
        {
            let message = format!("extra keys of {keys} blocks, where there are {blocks} block hashes");
            return Err(Fault::new(place, message).in_field(Field::ExtraKeys.name()));
        }
        Ok(event)
    }
}

/// One of a few words, or nil for its default.
fn word<T: Default>(
    cursor: &mut Cursor<'_>,
    what: &str,
    from_wire: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Fault> {
    let start = cursor.at();
    let Some(word) = value::text(cursor)? else { return Ok(T::default()) };
    from_wire(word).ok_or_else(|| Fault::new(start, format!("unknown {what} {}", quoted(word))))
}

fn said(place: Option<Place>, field: Field, start: Place) -> Result<Place, Fault> {
    place.ok_or_else(|| Fault::new(start, format!("{} is missing", field.name())).in_field(field.name()))
}
