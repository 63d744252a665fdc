//! The fields of events: their names, and their places where an event is an array.

/// A field of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Field {
    BlockHashes,
    BlockSize,
    CacheSalt,
    ExtraKeys,
    GroupIdx,
    Locality,
    LoraId,
    LoraName,
    Medium,
    Ownership,
    ParentBlockHash,
    SessionId,
    SlidingWindow,
    SpecKind,
    TokenIds,
}

/// The fields of a stored event, as far as arrays have them (to vLLM 0.23), and then as later versions declare them.
pub(super) const STORED: [Field; 14] = [
    Field::BlockHashes,
    Field::ParentBlockHash,
    Field::TokenIds,
    Field::BlockSize,
    Field::LoraId,
    Field::Medium,
    Field::LoraName,
    Field::ExtraKeys,
    Field::GroupIdx,
    Field::SpecKind,
    Field::SlidingWindow,
    Field::Locality,
    Field::Ownership,
    Field::SessionId,
];

/// The same of a removal.
pub(super) const REMOVED: [Field; 5] =
    [Field::BlockHashes, Field::Medium, Field::GroupIdx, Field::Locality, Field::Ownership];

impl Field {
    /// The field of this name. `None` when no version that we know has it.
    pub(super) fn from_key(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"block_hashes" => Self::BlockHashes,
            b"block_size" => Self::BlockSize,
            b"cache_salt" => Self::CacheSalt,
            b"extra_keys" => Self::ExtraKeys,
            b"group_idx" => Self::GroupIdx,
            b"kv_cache_spec_kind" => Self::SpecKind,
            b"kv_cache_spec_sliding_window" => Self::SlidingWindow,
            b"locality" => Self::Locality,
            b"lora_id" => Self::LoraId,
            b"lora_name" => Self::LoraName,
            b"medium" => Self::Medium,
            b"ownership" => Self::Ownership,
            b"parent_block_hash" => Self::ParentBlockHash,
            b"session_id" => Self::SessionId,
            b"token_ids" => Self::TokenIds,
            _ => return None,
        })
    }

    /// Its name, as engines spell it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::BlockHashes => "block_hashes",
            Self::BlockSize => "block_size",
            Self::CacheSalt => "cache_salt",
            Self::ExtraKeys => "extra_keys",
            Self::GroupIdx => "group_idx",
            Self::Locality => "locality",
            Self::LoraId => "lora_id",
            Self::LoraName => "lora_name",
            Self::Medium => "medium",
            Self::Ownership => "ownership",
            Self::ParentBlockHash => "parent_block_hash",
            Self::SessionId => "session_id",
            Self::SlidingWindow => "kv_cache_spec_sliding_window",
            Self::SpecKind => "kv_cache_spec_kind",
            Self::TokenIds => "token_ids",
        }
    }
}
