//! The secret of an index.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use sha2::{Digest as _, Sha256};

/// The secret of an index. Whoever knows it can make two prompts that the index takes for one.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// The key with these bytes, for indexes that must agree.
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The bytes, for who keeps the key with what it names.
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key that nobody knows: 128 bits of the operating system's randomness, by way of the standard library's
    /// hash maps, stretched.
    pub fn random() -> Self {
        let mut key = [0; 32];
        for (word, bytes) in key.chunks_exact_mut(8).enumerate() {
            bytes.copy_from_slice(&RandomState::new().hash_one(word).to_le_bytes());
        }
        Self(key)
    }

    /// The key for one purpose and one block size: labels are of one length, so no two purposes are written alike.
    pub(super) fn derive(&self, label: &[u8; 8], block_size: usize) -> [u8; 32] {
        let hash = Sha256::new().chain_update(self.0).chain_update(label);
        hash.chain_update((block_size as u64).to_le_bytes()).finalize().into()
    }

    /// A secret number for one purpose, the same wherever the key is.
    pub(crate) fn number(&self, label: &[u8; 8]) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.derive(label, 0);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A key is not shown.
impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_random_keys_are_alike() {
        assert_ne!(HashKey::random(), HashKey::random());
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", HashKey::from_bytes(*b"a secret that must not be shown.")), "HashKey(..)");
    }

    #[test]
    fn purpose_and_block_size_part_what_is_derived() {
        let key = HashKey::from_bytes([1; 32]);
        let derived = [key.derive(b"purpose1", 16), key.derive(b"purpose2", 16), key.derive(b"purpose1", 32)];
        assert!(derived[0] != derived[1] && derived[0] != derived[2] && derived[1] != derived[2]);
        assert_eq!(derived[0], key.derive(b"purpose1", 16));
    }
}
