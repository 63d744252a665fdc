//! llmd's own names: every block hashed by itself under secret keys of its position, and a name the sum of all before it.

#[cfg(test)]
mod collision;
mod extra;

use std::fmt;
use std::sync::Arc;

use self::extra::Extra;
use super::simd::{Form, Kernel};
use super::{ExtraKey, HashKey, HashScheme, Namespace};
use crate::{BlockHash, Error, ErrorKind, Result, TokenId};

/// llmd's own names for blocks of one size.
///
/// The name of a block is the name before it, plus a term of its tokens, plus a term of its extra keys where there are any;
/// *plus* is exclusive or, and every position has terms of its own. Two different prefixes have the same name with
/// probability 2^-63 at most, as long as nobody sees names: whoever collects some can make others. What enters the first
/// block stays in all names behind it, so the adapter enters there only.
#[derive(Clone)]
pub struct AdditiveDigest {
    keys: Arc<Keys>,
}

struct Keys {
    root: BlockHash,
    kernel: Kernel,
    extra: Extra,
}

impl AdditiveDigest {
    /// The names under `key` of blocks of `block_size` tokens.
    ///
    /// # Panics
    ///
    /// When `block_size` is 0.
    pub fn new(key: HashKey, block_size: usize) -> Self {
        Self::of_form(key, block_size, Form::best()).expect("the machine has it")
    }

    /// The same names, computed in this form, for those who compare forms.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when this machine does not have it.
    ///
    /// # Panics
    ///
    /// When `block_size` is 0.
    pub fn with_form(key: HashKey, block_size: usize, form: Form) -> Result<Self> {
        Self::of_form(key, block_size, form).ok_or_else(|| {
            let message = format!("form {form} is not one of this machine: expected {} or slower", Form::best());
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    fn of_form(key: HashKey, block_size: usize, form: Form) -> Option<Self> {
        assert!(block_size > 0, "a block holds at least one token");
        let [master, root] = [key.derive(b"llmd sum", block_size), key.derive(b"llmdroot", block_size)];
        let (master, _) = master.split_first_chunk().expect("32 bytes begin with 16");
        let (root, _) = root.split_first_chunk().expect("32 bytes begin with 8");
        let keys = Keys {
            root: BlockHash(u64::from_le_bytes(*root)),
            kernel: Kernel::new(*master, block_size, form)?,
            extra: Extra::new(&key, block_size),
        };
        Some(Self { keys: Arc::new(keys) })
    }

    /// How names are computed.
    pub fn form(&self) -> Form {
        self.keys.kernel.form()
    }

    /// Tokens per block.
    pub fn block_size(&self) -> usize {
        self.keys.kernel.block_size()
    }

    /// Appends the names of the full blocks of `tokens`, without extra keys, as they follow `parent` from `position` on.
    pub(super) fn extend(&self, parent: BlockHash, position: usize, tokens: &[TokenId], out: &mut Vec<BlockHash>) {
        self.keys.kernel.extend(parent.0, position as u64, tokens, out);
    }

    /// The term of what `namespace` adds to the first block, which is in all names after it.
    pub(super) fn mark(&self, namespace: &Namespace) -> u64 {
        let extra = namespace.extra_keys(0, self.block_size());
        if extra.is_empty() { 0 } else { self.keys.extra.term(0, &extra) }
    }

    /// Adds the terms of the items of `namespace` to the names of blocks that stand from `position` on, 1 or more.
    pub(super) fn add_items(&self, namespace: &Namespace, position: usize, names: &mut [BlockHash]) {
        self.keys.extra.add_items(&namespace.multimodal, position, names);
    }
}

/// Keys are not shown.
impl fmt::Debug for AdditiveDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdditiveDigest(..)")
    }
}

/// Blocks of another number of tokens than [`block_size`](AdditiveDigest::block_size) have names too, made more slowly.
impl HashScheme for AdditiveDigest {
    type Digest = BlockHash;

    fn root(&self) -> BlockHash {
        self.keys.root
    }

    fn next(&self, parent: &BlockHash, position: usize, tokens: &[TokenId], extra: &[ExtraKey<'_>]) -> BlockHash {
        let Keys { kernel, extra: terms, .. } = &*self.keys;
        let content = if tokens.len() == kernel.block_size() {
            kernel.term(position as u64, tokens)
        } else {
            terms.of_tokens(position, tokens)
        };
        let extra = if extra.is_empty() { 0 } else { terms.term(position, extra) };
        BlockHash(parent.0 ^ content ^ extra)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::hash::chain;

    fn scheme(key: u8) -> AdditiveDigest {
        AdditiveDigest::new(HashKey::from_bytes([key; 32]), 2)
    }

    #[test]
    fn the_key_decides_every_name() {
        let (one, other) = (scheme(1), scheme(2));
        assert_ne!(one.root(), other.root());
        let name = |scheme: &AdditiveDigest| scheme.next(&BlockHash(7), 0, &[1, 2], &[]);
        assert_ne!(name(&one), name(&other));
        assert_eq!(name(&one), name(&scheme(1)));
        assert_ne!(name(&one), name(&AdditiveDigest::new(HashKey::from_bytes([1; 32]), 3)));
    }

    #[test]
    fn a_scheme_is_not_shown() {
        assert_eq!(format!("{:?}", scheme(1)), "AdditiveDigest(..)");
    }

    #[test]
    fn a_path_does_not_part_what_events_cannot_tell_apart() {
        let [known, unknown] = [Some("/poet"), None].map(|path| ExtraKey::Lora { name: "poet", path });
        let name = |key| scheme(1).next(&BlockHash(7), 0, &[1, 2], &[key]);
        assert_eq!(name(known), name(unknown));
    }

    #[test]
    fn an_adapter_enters_the_first_block_only() {
        let scheme = scheme(1);
        let name = |position, extra: &[_]| scheme.next(&BlockHash(7), position, &[1, 2], extra);
        let adapter = [ExtraKey::Lora { name: "poet", path: None }];
        assert_ne!(name(0, &adapter), name(0, &[]));
        assert_eq!(name(1, &adapter), name(1, &[]));
        let [salt] = [ExtraKey::CacheSalt("poet")];
        assert_ne!(name(1, &[salt]), name(1, &[]));
        assert_eq!(name(1, &[adapter[0], salt]), name(1, &[salt]));
    }

    #[test]
    fn tenants_do_not_share_names() {
        let names = |salt: &str| chain(&scheme(1), 2, &[1, 2, 3, 4], &Namespace::default().with_cache_salt(salt));
        assert!(names("one").iter().zip(&names("other")).all(|(one, other)| one != other));
    }

    #[test]
    fn the_same_block_has_another_term_at_another_place() {
        let names = chain(&scheme(1), 2, &[5; 8], &Namespace::default());
        let terms: Vec<u64> = names.windows(2).map(|pair| pair[0].0 ^ pair[1].0).collect();
        assert!(terms[0] != terms[1] && terms[1] != terms[2] && terms[0] != terms[2]);
    }

    proptest! {
        /// Blocks of another size are named all the same, and by all of their tokens.
        #[test]
        fn other_tokens_give_another_name(one in vec(0..3_u32, 0..6), other in vec(0..3_u32, 0..6), position in 0..3_usize) {
            let name = |tokens: &[TokenId]| scheme(1).next(&BlockHash(7), position, tokens, &[]);
            prop_assert_eq!(name(&one) == name(&other), one == other);
        }
    }
}
