//! What besides tokens decides whether two blocks hold the same KV.

use smallvec::SmallVec;

/// What a prompt is computed under, besides its tokens.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Namespace {
    /// The adapter, if any.
    pub lora: Option<Lora>,
    /// The tenant's salt, if any: it enters the first block, and so every block after it.
    pub cache_salt: Option<String>,
    /// The images and other items in the prompt, by offset.
    pub multimodal: Vec<MultimodalItem>,
}

impl Namespace {
    /// The same, computed with this adapter.
    #[must_use]
    pub fn with_lora(self, lora: Lora) -> Self {
        Self { lora: Some(lora), ..self }
    }

    /// The same, under this salt.
    #[must_use]
    pub fn with_cache_salt(self, salt: impl Into<String>) -> Self {
        Self { cache_salt: Some(salt.into()), ..self }
    }

    /// The same, with these items, by offset.
    #[must_use]
    pub fn with_multimodal(self, items: impl Into<Vec<MultimodalItem>>) -> Self {
        Self { multimodal: items.into(), ..self }
    }

    /// What enters the block of `len` tokens at `start`, in vLLM's order: adapter, items that overlap the block, salt.
    pub fn extra_keys(&self, start: usize, len: usize) -> SmallVec<[ExtraKey<'_>; 2]> {
        let mut keys = SmallVec::new();
        if let Some(lora) = &self.lora {
            keys.push(ExtraKey::Lora { name: &lora.name, path: lora.path.as_deref() });
        }
        for item in &self.multimodal {
            if item.offset < start + len && start < item.offset + item.len {
                let offset = item.offset as i64 - start as i64;
                keys.push(ExtraKey::Multimodal { identifier: &item.identifier, offset });
            }
        }
        if start == 0 {
            keys.extend(self.cache_salt.as_deref().map(ExtraKey::CacheSalt));
        }
        keys
    }
}

/// An adapter.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Lora {
    /// The name that requests use.
    pub name: String,
    /// Where the engine loaded it from. vLLM hashes it since 0.31; KV events do not say it.
    pub path: Option<String>,
}

impl Lora {
    /// The adapter of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), path: None }
    }

    /// The same, loaded from `path`.
    #[must_use]
    pub fn with_path(self, path: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..self }
    }
}

/// An image, a clip or another item whose placeholder tokens stand in the prompt.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an identifier and a range is all that a hash takes from an item")]
pub struct MultimodalItem {
    /// The engine's name for the content.
    pub identifier: String,
    /// The first placeholder token.
    pub offset: usize,
    /// How many placeholder tokens there are.
    pub len: usize,
}

/// One thing besides tokens that enters a block's hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExtraKey<'a> {
    /// The tenant's salt, in the first block only.
    CacheSalt(&'a str),
    /// The adapter, in every block.
    Lora {
        /// Its name.
        name: &'a str,
        /// Its path, where known.
        path: Option<&'a str>,
    },
    /// An item that overlaps the block.
    Multimodal {
        /// The engine's name for its content.
        identifier: &'a str,
        /// Where it begins, counted from the block's first token.
        offset: i64,
    },
    /// The digest of prompt embeddings that take the place of tokens.
    PromptEmbeds(&'a [u8]),
}
