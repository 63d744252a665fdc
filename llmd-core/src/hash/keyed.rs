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
        let mut input = Input::new();
        write_block(&mut input, parent, tokens, extra);
        BlockHash(xxh3_64_with_secret(&input, &self.secret))
    }
}

/// What is hashed: on the stack for blocks of the usual sizes.
type Input = SmallVec<[u8; 512]>;

/// The name before, the tokens after their number, then the keys: no two blocks are written alike.
fn write_block(input: &mut Input, parent: &BlockHash, tokens: &[TokenId], extra: &[ExtraKey<'_>]) {
    input.extend_from_slice(&parent.0.to_le_bytes());
    input.extend_from_slice(&(tokens.len() as u64).to_le_bytes());
    let start = input.len();
    input.resize(start + size_of_val(tokens), 0);
    for (bytes, token) in input[start..].chunks_exact_mut(size_of::<TokenId>()).zip(tokens) {
        bytes.copy_from_slice(&token.to_le_bytes());
    }
    for key in extra {
        write_extra(input, key);
    }
}

/// Tag, number, length, content: no two lists of keys are written alike. An adapter is its name alone, since events say no path.
fn write_extra(input: &mut Input, key: &ExtraKey<'_>) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::Namespace;
    use crate::hash::tests::{OwnedKey, borrowed, owned_keys};

    fn scheme(key: u8) -> KeyedXxh3 {
        KeyedXxh3::new(HashKey::from_bytes([key; 32]))
    }

    #[test]
    fn the_key_decides_every_name() {
        let (one, other) = (scheme(1), scheme(2));
        assert_ne!(one.root(), other.root());
        assert_ne!(one.next(&BlockHash(7), 0, &[1, 2], &[]), other.next(&BlockHash(7), 0, &[1, 2], &[]));
        assert_eq!(one.next(&BlockHash(7), 0, &[1, 2], &[]), scheme(1).next(&BlockHash(7), 0, &[1, 2], &[]));
    }

    #[test]
    fn no_two_random_keys_are_alike() {
        assert_ne!(HashKey::random(), HashKey::random());
    }

    #[test]
    fn neither_a_key_nor_a_scheme_is_shown() {
        let key = HashKey::from_bytes(*b"a secret that must not be shown.");
        assert_eq!(format!("{key:?} {:?}", KeyedXxh3::new(key)), "HashKey(..) KeyedXxh3(..)");
    }

    #[test]
    fn a_path_does_not_part_what_events_cannot_tell_apart() {
        let [known, unknown] = [Some("/poet"), None].map(|path| ExtraKey::Lora { name: "poet", path });
        let scheme = scheme(1);
        assert_eq!(scheme.next(&BlockHash(7), 0, &[1], &[known]), scheme.next(&BlockHash(7), 0, &[1], &[unknown]));
    }

    #[test]
    fn tenants_do_not_share_names() {
        let name = |salt: &str| {
            let namespace = Namespace::default().with_cache_salt(salt);
            crate::hash::chain(&scheme(1), 2, &[1, 2, 3, 4], &namespace)
        };
        let (one, other) = (name("one"), name("other"));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    }

    /// Reads back what [`write_block`] wrote.
    fn read_block(mut input: &[u8]) -> (BlockHash, Vec<TokenId>, Vec<OwnedKey>) {
        fn number(input: &mut &[u8]) -> u64 {
            let (number, rest) = input.split_first_chunk().expect("a number is there");
            *input = rest;
            u64::from_le_bytes(*number)
        }
        let parent = BlockHash(number(&mut input));
        let len = number(&mut input) as usize;
        let (tokens, mut input) = input.split_at(4 * len);
        let tokens = tokens.chunks_exact(4).map(|token| TokenId::from_le_bytes(token.try_into().unwrap())).collect();
        let mut keys = Vec::new();
        while let [tag, rest @ ..] = input {
            input = rest;
            let offset = number(&mut input).cast_signed();
            let len = number(&mut input) as usize;
            let (bytes, rest) = input.split_at(len);
            input = rest;
            let text = || String::from_utf8(bytes.into()).expect("what was text is text");
            keys.push(match tag {
                0 => OwnedKey::CacheSalt(text()),
                1 => OwnedKey::Lora { name: text() },
                2 => OwnedKey::Multimodal { identifier: text(), offset },
                3 => OwnedKey::PromptEmbeds(bytes.into()),
                _ => panic!("no key has tag {tag}"),
            });
        }
        (parent, tokens, keys)
    }

    proptest! {
        /// What is hashed can be read back, and so no two blocks are written alike.
        #[test]
        fn what_is_hashed_can_be_read_back(
            parent: u64,
            tokens in proptest::collection::vec(any::<TokenId>(), 0..40),
            keys in owned_keys(),
        ) {
            let mut input = Input::new();
            write_block(&mut input, &BlockHash(parent), &tokens, &borrowed(&keys));
            prop_assert_eq!(read_block(&input), (BlockHash(parent), tokens, keys));
        }
    }
}
