//! What besides tokens decides whether two blocks hold the same KV.

use smallvec::SmallVec;

/// What a prompt is computed under, besides its tokens.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Namespace {
    /// The adapter, if any.
    pub lora: Option<Lora>,
    /// The tenant's salt, if any: it enters the first block, and so every block after it. An empty one is none.
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

    /// The same, with these items, in any order.
    #[must_use]
    pub fn with_multimodal(self, items: impl Into<Vec<MultimodalItem>>) -> Self {
        let mut multimodal = items.into();
        multimodal.sort_by_key(|item| item.offset);
        Self { multimodal, ..self }
    }

    /// What enters the block of `len` tokens at `start`, in vLLM's order: adapter, items that overlap the block, salt.
    ///
    /// ```
    /// use llmd_core::hash::{ExtraKey, MultimodalItem, Namespace};
    ///
    /// let image = MultimodalItem { identifier: "cafe".into(), offset: 12, len: 8 };
    /// let namespace = Namespace::default().with_multimodal([image]).with_cache_salt("tenant-7");
    /// let cafe = |offset| ExtraKey::Multimodal { identifier: "cafe", offset };
    ///
    /// assert_eq!(namespace.extra_keys(0, 16)[..], [cafe(12), ExtraKey::CacheSalt("tenant-7")]);
    /// assert_eq!(namespace.extra_keys(16, 16)[..], [cafe(-4)]);
    /// assert_eq!(namespace.extra_keys(32, 16)[..], []);
    /// ```
    pub fn extra_keys(&self, start: usize, len: usize) -> SmallVec<[ExtraKey<'_>; 2]> {
        let mut keys = SmallVec::new();
        if let Some(lora) = &self.lora {
            keys.push(ExtraKey::Lora { name: &lora.name, path: lora.path.as_deref() });
        }
        for item in &self.multimodal {
            if item.overlaps(start, len) {
                let offset = item.offset as i64 - start as i64;
                keys.push(ExtraKey::Multimodal { identifier: &item.identifier, offset });
            }
        }
        if start == 0 {
            keys.extend(self.cache_salt.as_deref().filter(|salt| !salt.is_empty()).map(ExtraKey::CacheSalt));
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

impl MultimodalItem {
    /// Whether one of its placeholder tokens is among the `len` tokens at `start`.
    pub(super) const fn overlaps(&self, start: usize, len: usize) -> bool {
        self.len > 0 && self.offset < start.saturating_add(len) && start < self.offset.saturating_add(self.len)
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(offset: usize, len: usize) -> MultimodalItem {
        MultimodalItem { identifier: format!("{offset}+{len}"), offset, len }
    }

    #[test]
    fn keys_stand_in_the_order_of_the_engine() {
        let namespace = Namespace::default()
            .with_cache_salt("salt")
            .with_multimodal([item(5, 1), item(2, 1)])
            .with_lora(Lora::new("poet").with_path("/poet"));
        let keys = namespace.extra_keys(0, 8);
        assert_eq!(
            keys[..],
            [
                ExtraKey::Lora { name: "poet", path: Some("/poet") },
                ExtraKey::Multimodal { identifier: "2+1", offset: 2 },
                ExtraKey::Multimodal { identifier: "5+1", offset: 5 },
                ExtraKey::CacheSalt("salt"),
            ]
        );
    }

    #[test]
    fn only_the_first_block_has_the_salt_and_every_block_the_adapter() {
        let namespace = Namespace::default().with_cache_salt("salt").with_lora(Lora::new("poet"));
        assert_eq!(namespace.extra_keys(0, 8).len(), 2);
        assert_eq!(namespace.extra_keys(8, 8)[..], [ExtraKey::Lora { name: "poet", path: None }]);
    }

    #[test]
    fn an_empty_salt_is_none() {
        assert!(Namespace::default().with_cache_salt("").extra_keys(0, 8).is_empty());
    }

    #[test]
    fn an_item_without_end_is_in_every_block_behind_its_beginning() {
        let namespace = Namespace::default().with_multimodal([item(9, usize::MAX)]);
        assert!(namespace.extra_keys(0, 8).is_empty());
        assert_eq!(namespace.extra_keys(800, 8).len(), 1);
    }

    proptest! {
        /// An item is in a block exactly when one of its placeholder tokens is.
        #[test]
        fn an_item_is_where_its_tokens_are(offset in 0..64_usize, len in 0..40_usize, block in 1..20_usize) {
            let namespace = Namespace::default().with_multimodal([item(offset, len)]);
            for start in (0..128).step_by(block) {
                let there = (offset..offset + len).any(|token| (start..start + block).contains(&token));
                let keys = namespace.extra_keys(start, block);
                prop_assert_eq!(keys.len(), usize::from(there));
                if let [ExtraKey::Multimodal { offset: counted, .. }] = keys[..] {
                    prop_assert_eq!(counted, offset as i64 - start as i64);
                }
            }
        }
    }
}
