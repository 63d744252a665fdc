//! A prompt as an index sees it.

use std::fmt;

use smallvec::SmallVec;

use super::{BlockHasher, Namespace};
use crate::{BlockHash, Error, ErrorKind, ExternalBlockHash, Result, TokenId};

/// A prompt as an index sees it: the names of its full blocks, first block first.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Chain {
    blocks: Vec<BlockHash>,
    block_size: usize,
    tokens: usize,
    /// By what the names differ from those of the same tokens without extra keys at the first block.
    namespace: u64,
    /// The tokens behind the last full block.
    rest: SmallVec<[TokenId; 16]>,
    names: Vec<ExternalBlockHash>,
}

impl Chain {
    /// The same, with the engines' own names for the blocks, first block first, where whoever asks can compute them.
    ///
    /// Engines that name parts of blocks name some behind parts that have no name. Events do not say where those stand,
    /// so that they are found under these names only. See [`EngineHasher`](super::EngineHasher).
    #[must_use]
    pub fn with_names(self, names: impl IntoIterator<Item = ExternalBlockHash>) -> Self {
        Self { names: names.into_iter().collect(), ..self }
    }

    /// The engines' own names for the blocks; none, unless [`with_names`](Self::with_names) gave them.
    pub fn names(&self) -> &[ExternalBlockHash] {
        &self.names
    }

    /// The names of the full blocks.
    pub fn blocks(&self) -> &[BlockHash] {
        &self.blocks
    }

    /// Tokens per block.
    pub const fn block_size(&self) -> usize {
        self.block_size
    }

    /// Tokens of the prompt, those that fill no block included.
    pub const fn tokens(&self) -> usize {
        self.tokens
    }

    /// How many tokens an engine takes from its cache when it holds the first `leading` blocks: it always computes the
    /// last token, and takes only whole blocks.
    #[inline]
    pub fn hit_tokens(&self, leading: usize) -> usize {
        let usable = self.tokens.saturating_sub(1).checked_div(self.block_size).unwrap_or(0);
        leading.min(usable) * self.block_size
    }

    /// Goes on with `more` tokens, as they are made; `hasher` and `namespace` are those that the chain was begun with. What
    /// fills no block yet is kept.
    ///
    /// ```
    /// use llmd_core::hash::{BlockHasher, HashKey, Namespace};
    ///
    /// let (hasher, namespace) = (BlockHasher::new(HashKey::random(), 4), Namespace::default());
    /// let mut chain = hasher.chain(&[1, 2, 3, 4, 5, 6], &namespace);
    /// for token in 7..=12 {
    ///     chain.extend(&hasher, &[token], &namespace)?;
    /// }
    /// assert_eq!(chain, hasher.chain(&(1..=12).collect::<Vec<_>>(), &namespace));
    /// # Ok::<(), llmd_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the hasher's blocks are of another size than the chain's. The chain is as it was.
    pub fn extend(&mut self, hasher: &BlockHasher, more: &[TokenId], namespace: &Namespace) -> Result<()> {
        let (size, expected) = (hasher.block_size(), self.block_size);
        if size != expected {
            let message = format!("hasher of blocks of {size} tokens: expected {expected}, as the chain has");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.append(hasher, more, namespace);
        Ok(())
    }

    /// By what the names differ from those of the same tokens with no extra keys at the first block: 0 where there are none.
    pub(crate) const fn namespace(&self) -> u64 {
        self.namespace
    }

    /// Becomes the chain of no tokens.
    pub(super) fn begin(&mut self, hasher: &BlockHasher, namespace: &Namespace) {
        self.blocks.clear();
        self.rest.clear();
        self.names.clear();
        self.block_size = hasher.block_size();
        self.tokens = 0;
        self.namespace = hasher.scheme().mark(namespace);
    }

    /// Becomes the chain of the first `kept` blocks.
    pub(super) fn cut(&mut self, kept: usize) {
        self.blocks.truncate(kept);
        self.rest.clear();
        self.tokens = self.blocks.len() * self.block_size;
    }

    pub(super) fn append(&mut self, hasher: &BlockHasher, more: &[TokenId], namespace: &Namespace) {
        self.tokens += more.len();
        let first = self.blocks.len();
        let mut more = more;
        if !self.rest.is_empty() {
            let (fill, after) = more.split_at(more.len().min(self.block_size - self.rest.len()));
            self.rest.extend_from_slice(fill);
            more = after;
            if self.rest.len() < self.block_size {
                return;
            }
            hasher.extend(self.last(hasher), self.blocks.len(), &self.rest, &mut self.blocks);
            self.rest.clear();
        }
        hasher.extend(self.last(hasher), self.blocks.len(), more, &mut self.blocks);
        self.rest.extend_from_slice(&more[more.len() - more.len() % self.block_size..]);
        if !namespace.multimodal.is_empty() {
            // What enters the first block is in the namespace's mark.
            let first = first.max(1);
            if let Some(names) = self.blocks.get_mut(first..) {
                hasher.scheme().add_items(namespace, first, names);
            }
        }
    }

    /// What the next block follows.
    fn last(&self, hasher: &BlockHasher) -> BlockHash {
        self.blocks.last().copied().unwrap_or_else(|| BlockHash(hasher.root().0 ^ self.namespace))
    }
}

/// Names are not shown: whoever knows some can make others.
impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blocks, block_size, tokens, .. } = self;
        let blocks = blocks.len();
        f.debug_struct("Chain")
            .field("blocks", &blocks)
            .field("block_size", block_size)
            .field("tokens", tokens)
            .finish()
    }
}
