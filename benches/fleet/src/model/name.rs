//! What blocks, requests and adapters are called.

use llmd_core::hash::Lora;

/// A physical block, counted from 0; block 0 is the null block and never holds anything.
pub type BlockId = u32;

/// The engine's name for the content of a block and all before it: SHA-256.
pub type Digest = [u8; 32];

/// Names one request of one engine; never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(pub(super) u64);

/// An adapter that the engine has loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a number and what enters the hash is all that an event says of an adapter"
)]
pub struct Adapter {
    /// Its number, counted from 1.
    pub id: i64,
    /// Its name and path.
    pub lora: Lora,
}
