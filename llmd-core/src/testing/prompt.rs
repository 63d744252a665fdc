//! The few prompts that simulated engines are asked.

use crate::TokenId;
use crate::event::EventExtraKey;
use crate::hash::{BlockHasher, Chain, Lora, Namespace};

/// Tokens per block.
pub(super) const BLOCK_SIZE: usize = 2;
/// Full blocks of a prompt.
pub(super) const DEPTH: usize = 3;
/// Full blocks of a prompt that is asked of engines at full width.
pub(super) const WIDE_DEPTH: usize = 6;

/// One of the few prompts that the engines are asked: two different contents per block, under some namespaces.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Prompt {
    /// Bit `n` chooses the content of block `n`.
    content: u8,
    /// None, an adapter, a salt, or both.
    namespace: u8,
}

impl Prompt {
    pub(super) const fn new(content: u8, namespace: u8) -> Self {
        Self { content, namespace }
    }

    /// What is the same in all prompts that begin as this one does, up to and with `block`.
    pub(super) const fn up_to(self, block: usize) -> Self {
        Self { content: self.content & ((2 << block) - 1), ..self }
    }

    pub(super) fn tokens(self) -> Vec<TokenId> {
        self.blocks(DEPTH)
    }

    pub(super) fn wide_tokens(self) -> Vec<TokenId> {
        self.blocks(WIDE_DEPTH)
    }

    fn blocks(self, depth: usize) -> Vec<TokenId> {
        let blocks = (0..depth).map(|block| TokenId::from(self.content >> block & 1));
        blocks.flat_map(|content| [content, 7]).collect()
    }

    pub(super) fn adapter(self) -> Option<&'static str> {
        (self.namespace & 1 != 0).then_some("adapter")
    }

    fn salt(self) -> Option<&'static str> {
        (self.namespace & 2 != 0).then_some("salt")
    }

    fn chain(self, tokens: &[TokenId], hasher: &BlockHasher) -> Chain {
        let mut namespace = Namespace::default();
        if let Some(adapter) = self.adapter() {
            namespace = namespace.with_lora(Lora::new(adapter));
        }
        if let Some(salt) = self.salt() {
            namespace = namespace.with_cache_salt(salt);
        }
        hasher.chain(tokens, &namespace)
    }

    /// What vLLM lists for a block.
    pub(super) fn extra_keys(self, block: usize) -> Vec<EventExtraKey> {
        let salt = self.salt().filter(|_| block == 0);
        self.adapter().into_iter().chain(salt).map(|key| EventExtraKey::Text(key.into())).collect()
    }
}

/// Every prompt that [`engines`](super::engines) are asked.
pub fn prompts(hasher: &BlockHasher) -> Vec<Chain> {
    let all = (0..4).flat_map(|namespace| (0..1 << DEPTH).map(move |content| Prompt::new(content, namespace)));
    all.map(|prompt| prompt.chain(&prompt.tokens(), hasher)).collect()
}

/// The contents of prompts that are asked of engines at full width: they part at every block.
const WIDE_CONTENTS: [u8; 8] = [0b00_0000, 0b00_0001, 0b00_0010, 0b00_0100, 0b00_1000, 0b01_0000, 0b10_0000, 0b11_0000];

pub(super) const fn wide_prompt(content: u8, namespace: u8) -> Prompt {
    Prompt::new(WIDE_CONTENTS[content as usize % WIDE_CONTENTS.len()], namespace)
}

/// Every prompt that [`full_width_engines`](super::full_width_engines) are asked, and every second time with a token
/// more, which makes its last block one that can be hit.
pub fn full_width_prompts(hasher: &BlockHasher) -> Vec<Chain> {
    let all = (0..4).flat_map(|namespace| (0..8).map(move |content| wide_prompt(content, namespace)));
    all.enumerate()
        .map(|(number, prompt)| {
            let mut tokens = prompt.wide_tokens();
            tokens.extend((number % 2 == 0).then_some(9));
            prompt.chain(&tokens, hasher)
        })
        .collect()
}
