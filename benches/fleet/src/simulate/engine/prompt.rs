//! Prompts: beginnings of token streams that many requests share.

use std::sync::Arc;

use llmd_core::TokenId;

use super::name::{Name, ROOT, name};

/// Tokens, with the names of their full blocks computed once: a prompt, or a whole conversation.
#[derive(Debug)]
pub struct Stream {
    tokens: Box<[TokenId]>,
    names: Box<[Name]>,
}

impl Stream {
    /// A stream of these tokens for engines with blocks of `block_size`.
    pub fn new(tokens: impl Into<Box<[TokenId]>>, block_size: usize) -> Self {
        let tokens = tokens.into();
        let mut parent = ROOT;
        let names = tokens.chunks_exact(block_size).map(|block| {
            parent = name(parent, block.iter().copied());
            parent
        });
        Self { names: names.collect(), tokens }
    }
}

/// The first tokens of a stream.
#[derive(Clone, Debug)]
pub struct Prompt {
    stream: Arc<Stream>,
    len: usize,
}

impl Prompt {
    /// The first `len` tokens of `stream`, or all of them when it has fewer. What follows them in the stream is what the
    /// model answers.
    pub fn new(stream: Arc<Stream>, len: usize) -> Self {
        let len = len.min(stream.tokens.len());
        Self { stream, len }
    }

    /// The tokens.
    pub fn tokens(&self) -> &[TokenId] {
        &self.stream.tokens[..self.len]
    }

    /// How many tokens there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no token.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The prompt and the answers that the stream knows.
    pub(super) fn known(&self) -> &[TokenId] {
        &self.stream.tokens
    }

    /// The names of the full blocks of [`known`](Self::known).
    pub(crate) fn names(&self) -> &[Name] {
        &self.stream.names
    }
}
