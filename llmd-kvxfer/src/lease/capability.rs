//! What nobody can guess.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};
use llmd_core::Result;
use sha2::{Digest as _, Sha256};

use crate::chance;

/// 128 random bits. Who has them may read what they were given for.
#[derive(Clone, Copy)]
pub struct Capability([u8; 16]);

impl Capability {
    /// A new one, from the system's randomness.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](llmd_core::ErrorKind::Unavailable) when the system has none.
    pub fn random() -> Result<Self> {
        chance::bytes().map(Self)
    }

    /// The one that these bytes are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As it is sent.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// What may be shown to anyone: by it one that has the capability can tell that it is the right one, for these blocks of this
    /// pool, and nobody can make the capability.
    pub fn tag(&self, pool: u32, blocks: &[u32]) -> u64 {
        let mut sum = Digest::new(CrcAlgorithm::Crc64Nvme);
        for few in blocks.chunks(AT_ONCE) {
            let mut bytes = [0; AT_ONCE * 4];
            for (place, block) in bytes.chunks_exact_mut(4).zip(few) {
                place.copy_from_slice(&block.to_le_bytes());
            }
            sum.update(&bytes[..few.len() * 4]);
        }
        let said = Sha256::new().chain_update(b"llmd lease tag").chain_update(self.0).chain_update(pool.to_le_bytes());
        let digest = said.chain_update(sum.finalize().to_le_bytes()).finalize();
        u64::from_le_bytes(std::array::from_fn(|place| digest[place]))
    }
}

/// How many blocks are summed in one go.
const AT_ONCE: usize = 256;

/// Takes as long whatever differs.
impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        std::hint::black_box(u128::from_ne_bytes(self.0) ^ u128::from_ne_bytes(other.0)) == 0
    }
}

impl Eq for Capability {}

/// Shows nothing of it.
impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capability(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_one_capability_one_pool_and_one_list_of_blocks() {
        let (capability, other) = (Capability::from_bytes([1; 16]), Capability::from_bytes([2; 16]));
        let blocks: Vec<u32> = (0..1000).collect();
        let tag = capability.tag(3, &blocks);
        assert_eq!(tag, capability.tag(3, &blocks));
        let mut swapped = blocks.clone();
        swapped.swap(700, 701);
        for another in [
            other.tag(3, &blocks),
            capability.tag(4, &blocks),
            capability.tag(3, &blocks[..999]),
            capability.tag(3, &[&blocks[..], &[0]].concat()),
            capability.tag(3, &swapped),
        ] {
            assert_ne!(another, tag);
        }
    }
}
