//! llmd's own names: a chain of keyed XXH3 over tokens and extra keys.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_secret;

use super::{ExtraKey, HashScheme};
use crate::{BlockHash, TokenId};

const SECRET_LEN: usize = 192;

/// The secret of an index. Whoever knows it can make two prompts that the index takes for one.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// The key with these bytes, for indexes that must agree.
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A key that nobody knows, from the operating system's randomness.
    pub fn random() -> Self {
        let mut key = [0; 32];
        for (word, bytes) in key.chunks_exact_mut(8).enumerate() {
            bytes.copy_from_slice(&RandomState::new().hash_one(word).to_le_bytes());
        }
        Self(key)
    }
}

/// A key is not shown.
impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// llmd's own names: XXH3 over the name before, the tokens and the extra keys, with a secret made from a [`HashKey`].
#[derive(Clone)]
pub struct KeyedXxh3 {
    secret: [u8; SECRET_LEN],
}

impl KeyedXxh3 {
    /// The scheme with this key.
    pub fn new(key: HashKey) -> Self {
        let mut secret = [0; SECRET_LEN];
        for (counter, bytes) in (0_u8..).zip(secret.chunks_exact_mut(32)) {
            bytes.copy_from_slice(&Sha256::new().chain_update(key.0).chain_update([counter]).finalize());
        }
        Self { secret }
    }
}

impl fmt::Debug for KeyedXxh3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedXxh3(..)")
    }
}

impl HashScheme for KeyedXxh3 {
    type Digest = BlockHash;

    fn root(&self) -> BlockHash {
        BlockHash(xxh3_64_with_secret(b"llmd", &self.secret))
    }

    fn next(&self, parent: &BlockHash, _: usize, tokens: &[TokenId], extra: &[ExtraKey<'_>]) -> BlockHash {
        let mut input = SmallVec::<[u8; 512]>::new();
        input.extend_from_slice(&parent.0.to_le_bytes());
        input.extend_from_slice(&(tokens.len() as u64).to_le_bytes());
        for token in tokens {
            input.extend_from_slice(&token.to_le_bytes());
        }
        for key in extra {
            write_extra(&mut input, key);
        }
        BlockHash(xxh3_64_with_secret(&input, &self.secret))
    }
}

/// Tag, length, content: no two lists of keys are written alike. An adapter is its name alone, since events say no path.
fn write_extra(input: &mut SmallVec<[u8; 512]>, key: &ExtraKey<'_>) {
    let (tag, text, number) = match *key {
        ExtraKey::CacheSalt(salt) => (0, salt.as_bytes(), 0),
        ExtraKey::Lora { name, .. } => (1, name.as_bytes(), 0),
        ExtraKey::Multimodal { identifier, offset } => (2, identifier.as_bytes(), offset),
        ExtraKey::PromptEmbeds(digest) => (3, digest, 0),
    };
    input.push(tag);
    input.extend_from_slice(&number.to_le_bytes());
    input.extend_from_slice(&(text.len() as u64).to_le_bytes());
    input.extend_from_slice(text);
}
