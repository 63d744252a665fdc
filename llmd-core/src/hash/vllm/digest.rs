//! A name, as vLLM's hash functions make it.

use std::fmt;

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_128;

use super::VllmAlgorithm;

/// A name that vLLM gives to a block: 32 bytes of SHA-256, or 16 of XXH3-128.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VllmDigest(Bytes);

#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Bytes {
    Sha256([u8; 32]),
    /// Most significant first.
    Xxh3([u8; 16]),
}

impl VllmDigest {
    pub(super) fn of(algorithm: VllmAlgorithm, input: &[u8]) -> Self {
        Self(match algorithm {
            VllmAlgorithm::Sha256 | VllmAlgorithm::Sha256Cbor => Bytes::Sha256(Sha256::digest(input).into()),
            VllmAlgorithm::Xxhash | VllmAlgorithm::XxhashCbor => Bytes::Xxh3(xxh3_128(input).to_be_bytes()),
        })
    }

    /// The name of these bytes, when there are as many as the algorithm makes.
    pub(in crate::hash) fn from_bytes(algorithm: VllmAlgorithm, bytes: &[u8]) -> Option<Self> {
        Some(Self(match algorithm {
            VllmAlgorithm::Sha256 | VllmAlgorithm::Sha256Cbor => Bytes::Sha256(bytes.try_into().ok()?),
            VllmAlgorithm::Xxhash | VllmAlgorithm::XxhashCbor => Bytes::Xxh3(bytes.try_into().ok()?),
        }))
    }

    /// The bytes, as events carry them from engines that were told to send bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Sha256(bytes) => bytes,
            Bytes::Xxh3(bytes) => bytes,
        }
    }

    /// The integer that events say instead of the name, unless the engine was told to send bytes: its last 8 bytes,
    /// most significant first.
    pub fn event_int(&self) -> u64 {
        let (_, last) = self.as_bytes().split_last_chunk().expect("16 or 32 bytes end with 8");
        u64::from_be_bytes(*last)
    }
}

/// In hexadecimal.
impl fmt::Debug for VllmDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_say_the_last_8_bytes() {
        let name = VllmDigest(Bytes::Xxh3([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(name.event_int(), 0x0102_0304_0506_0708);
        assert_eq!(format!("{name:?}"), "00000000000000000102030405060708");
    }
}
