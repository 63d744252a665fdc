//! What stands before the next block, and what follows from it.

use crate::TokenId;
use crate::hash::{HashScheme as _, Namespace, Sglang, VllmDigest, VllmHash};

/// The name that the next block follows.
pub(super) enum Before<'a> {
    /// None, where nothing stands before the first page.
    Sglang(Option<[u8; 32]>),
    Vllm(&'a VllmHash, VllmDigest),
}

impl Before<'_> {
    /// The last of `names`, where there are some.
    pub(super) fn last_of(self, names: &[u8]) -> Self {
        match self {
            Self::Sglang(root) => Self::Sglang(names.last_chunk().copied().or(root)),
            Self::Vllm(hash, root) => {
                let start = names.len().checked_sub(hash.algorithm().digest_len());
                let last = start.and_then(|start| VllmDigest::from_bytes(hash.algorithm(), &names[start..]));
                Self::Vllm(hash, last.unwrap_or(root))
            }
        }
    }

    /// Appends the names of the full blocks of `tokens`, which stand at `position` and have `size` tokens.
    pub(super) fn append(
        self,
        position: usize,
        size: usize,
        tokens: &[TokenId],
        namespace: &Namespace,
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Sglang(before) => {
                Sglang::chain(before, size, tokens).for_each(|name| out.extend_from_slice(&name));
            }
            Self::Vllm(hash, mut name) => {
                for (position, block) in (position..).zip(tokens.chunks_exact(size)) {
                    let extra = namespace.extra_keys(position * size, size);
                    name = hash.next(&name, position, block, &extra);
                    out.extend_from_slice(name.as_bytes());
                }
            }
        }
    }
}
