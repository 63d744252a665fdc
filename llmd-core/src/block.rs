//! What a block is: its names, ours and the engine's, and the group it belongs to.

use std::fmt;

use smallvec::SmallVec;

/// The id of a token in its model's vocabulary.
pub type TokenId = u32;

/// Our name for a block *and all before it*.
///
/// Keyed by a secret of the index that made it, so that nobody can aim at a collision. It says where tokens are
/// known; it never names bytes of KV cache, and it is never shown to a client.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a block hash is a number and stays one")]
#[repr(transparent)]
pub struct BlockHash(pub u64);

/// The engine's name for a block, opaque: an integer or bytes, as the engine publishes it.
///
/// vLLM publishes the last 8 bytes of its digest as an integer, or the whole digest; SGLang a signed integer, which
/// is taken bit for bit.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExternalBlockHash(Name);

#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Name {
    Int(u64),
    Bytes(SmallVec<[u8; 32]>),
}

impl ExternalBlockHash {
    /// The name that is this integer.
    pub const fn from_int(name: u64) -> Self {
        Self(Name::Int(name))
    }

    /// The name that is these bytes.
    pub fn from_bytes(name: &[u8]) -> Self {
        Self(Name::Bytes(SmallVec::from_slice(name)))
    }

    /// The integer, when the name is one.
    pub const fn as_int(&self) -> Option<u64> {
        match &self.0 {
            Name::Int(name) => Some(*name),
            Name::Bytes(_) => None,
        }
    }

    /// The bytes, when the name is a string of them.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Name::Int(_) => None,
            Name::Bytes(name) => Some(name),
        }
    }
}

impl fmt::Debug for ExternalBlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The integer in decimal, or the bytes in hexadecimal.
impl fmt::Display for ExternalBlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Int(name) => write!(f, "{name}"),
            Name::Bytes(name) => name.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// Which KV-cache group a block belongs to. Models with one kind of attention have one group, 0.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a group is a number and stays one")]
pub struct GroupIdx(pub u32);
