//! What names the blocks of prompts for one index.

use super::{AdditiveDigest, Chain, Form, HashKey, HashScheme as _, Namespace};
use crate::{BlockHash, Result, TokenId};

/// Hashes prompts the way one index does: same key, same block size. Clones share the keys.
///
/// ```
/// use llmd_core::hash::{BlockHasher, HashKey, Namespace};
///
/// let hasher = BlockHasher::new(HashKey::random(), 16);
/// let prompt: Vec<u32> = (0..80).collect();
/// let chain = hasher.chain(&prompt, &Namespace::default());
///
/// // What follows a block follows from its name and its position alone.
/// let mut names = Vec::new();
/// hasher.extend(chain.blocks()[1], 2, &prompt[32..], &mut names);
/// assert_eq!(names, chain.blocks()[2..]);
/// ```
#[derive(Clone, Debug)]
pub struct BlockHasher {
    scheme: AdditiveDigest,
}

impl BlockHasher {
    /// A hasher for blocks of `block_size` tokens.
    ///
    /// # Panics
    ///
    /// When `block_size` is 0.
    pub fn new(key: HashKey, block_size: usize) -> Self {
        Self { scheme: AdditiveDigest::new(key, block_size) }
    }

    /// The same, computed in this form, for those who compare forms.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) when this machine does not have it.
    ///
    /// # Panics
    ///
    /// When `block_size` is 0.
    pub fn with_form(key: HashKey, block_size: usize, form: Form) -> Result<Self> {
        Ok(Self { scheme: AdditiveDigest::with_form(key, block_size, form)? })
    }

    /// The scheme, for those who hash block by block.
    pub const fn scheme(&self) -> &AdditiveDigest {
        &self.scheme
    }

    /// Tokens per block.
    pub fn block_size(&self) -> usize {
        self.scheme.block_size()
    }

    /// The name before the first block.
    pub fn root(&self) -> BlockHash {
        self.scheme.root()
    }

    /// Appends the names of the full blocks of `tokens`, which follow `parent` and stand at `position` (counted in blocks
    /// from 0), as blocks without extra keys. A rest that fills no block has none.
    ///
    /// At position 0, `parent` is the [`root`](Self::root). Blocks behind the first have no extra keys because of an adapter
    /// or a salt in the namespace, which are in `parent` already, but only because of items.
    pub fn extend(&self, parent: BlockHash, position: usize, tokens: &[TokenId], out: &mut Vec<BlockHash>) {
        self.scheme.extend(parent, position, tokens, out);
    }

    /// The chain of a prompt.
    pub fn chain(&self, tokens: &[TokenId], namespace: &Namespace) -> Chain {
        let mut chain = Chain::default();
        self.chain_into(tokens, namespace, &mut chain);
        chain
    }

    /// The same, in the place of what `chain` was, whose buffers are kept.
    pub fn chain_into(&self, tokens: &[TokenId], namespace: &Namespace, chain: &mut Chain) {
        chain.begin(self, namespace);
        chain.append(self, tokens, namespace);
    }
}
