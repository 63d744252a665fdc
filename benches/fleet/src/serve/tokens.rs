//! Text to tokens and back, quickly for the text that the fleet is sent.

use std::collections::HashMap;
use std::path::Path;

use llmd_core::{Result, TokenId};
use llmd_gateway::tokenize::Tokenizer;
use serde_json::Value;

use crate::prompt::Words;
use crate::splitmix::SplitMix64;

/// The tokenizer of an engine.
///
/// Text made of the vocabulary's single-token words alone is looked up word by word, which gives the same tokens as the
/// tokenizer at a fiftieth of its cost; everything else goes through the tokenizer.
#[derive(Debug)]
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    words: Words,
    ids: HashMap<Box<str>, TokenId>,
    /// The text of every word, by token; empty for other tokens.
    texts: Vec<Box<str>>,
}

impl Tokens {
    pub(super) fn load(path: &Path) -> Result<Self> {
        let (tokenizer, words) = (Tokenizer::load(path)?, Words::load(path)?);
        let ids = (0..words.len()).map(|n| words.nth(n)).map(|(id, word)| (word[1..].into(), id)).collect();
        let mut texts = vec![Box::default(); words.vocabulary()];
        (0..words.len()).map(|n| words.nth(n)).for_each(|(id, word)| texts[id as usize] = word.into());
        Ok(Self { tokenizer, words, ids, texts })
    }

    /// The tokens of a prompt.
    pub(super) fn completion(&self, text: &str) -> Result<Vec<TokenId>> {
        self.look_up(text).map_or_else(|| self.tokenizer.completion(text), Ok)
    }

    /// The tokens of a conversation, up to where the assistant is to speak.
    pub(super) fn chat(&self, messages: &Value, tools: Option<&Value>) -> Result<Vec<TokenId>> {
        self.tokenizer.chat(messages, tools)
    }

    /// The tokens of text that is made of single-token words alone.
    pub(super) fn look_up(&self, text: &str) -> Option<Vec<TokenId>> {
        let words = text.strip_prefix(' ')?;
        words.split(' ').map(|word| self.ids.get(word).copied()).collect()
    }

    /// The text of a token that the sampler chose: a space and lower-case letters, so it needs no escape in JSON.
    pub(super) fn text(&self, token: TokenId) -> &str {
        &self.texts[token as usize]
    }

    /// How many tokens there are.
    pub(super) fn vocabulary(&self) -> usize {
        self.texts.len()
    }

    /// Chooses output tokens: words, from the request's seed.
    pub(super) fn sampler(&self) -> impl FnMut(u64, usize) -> TokenId + Send + 'static {
        let ids: Vec<TokenId> = (0..self.words.len()).map(|n| self.words.nth(n).0).collect();
        move |seed, position| {
            let mut numbers = SplitMix64::new(seed ^ (position as u64).rotate_left(32));
            ids[numbers.below(ids.len())]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tokenizer/tokenizer.json");

    #[test]
    fn looking_words_up_gives_the_tokens_of_the_tokenizer() {
        let tokens = Tokens::load(Path::new(TOKENIZER)).unwrap();
        let text = tokens.words.text_for(1, 500) + &tokens.words.text_for(2, 30);

        let slow = tokens.tokenizer.completion(&text).unwrap();
        assert_eq!(tokens.look_up(&text).unwrap(), slow);
    }

    #[test]
    fn other_text_goes_through_the_tokenizer() {
        let tokens = Tokens::load(Path::new(TOKENIZER)).unwrap();
        for text in ["x", "Hello, world!", " ", "  two", " qqqqqq", "<|im_start|>user\nhi<|im_end|>\n"] {
            assert!(tokens.look_up(text).is_none(), "{text:?}");
            assert_eq!(tokens.completion(text).unwrap(), tokens.tokenizer.completion(text).unwrap(), "{text:?}");
        }
    }
}
