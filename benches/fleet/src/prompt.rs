//! Text whose tokens can be counted without a tokenizer: words that are one token each.

use std::path::Path;

use llmd_core::{Error, ErrorKind, Result, TokenId};
use tokenizers::Tokenizer;

use crate::splitmix::SplitMix64;

/// How a byte-level BPE writes a space inside a token.
const SPACE: char = 'Ġ';
const MIN_WORDS: usize = 1_000;

/// The tokens of a vocabulary that are a space and a word of lower-case letters.
///
/// The pre-tokenizer of a byte-level BPE cuts before every such space, so text made of these words has exactly one token
/// per word, however it is joined.
#[derive(Clone, Debug)]
pub struct Words {
    words: Vec<(TokenId, Box<str>)>,
    vocabulary: usize,
}

impl Words {
    /// The words of the vocabulary in a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the file is no tokenizer or has fewer than 1,000 such words.
    pub fn load(tokenizer: impl AsRef<Path>) -> Result<Self> {
        Self::load_at_least(tokenizer, MIN_WORDS)
    }

    /// The same, of a vocabulary that has at least `needed` such words.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the file is no tokenizer or has fewer.
    pub fn load_at_least(tokenizer: impl AsRef<Path>, needed: usize) -> Result<Self> {
        let path = tokenizer.as_ref();
        let tokenizer = Tokenizer::from_file(path).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("{} is no tokenizer", path.display())).with_source(error)
        })?;
        let words = Self::of(&tokenizer);
        if words.words.len() < needed.max(1) {
            let message =
                format!("{} has {} single-token words, {needed} are needed", path.display(), words.words.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(words)
    }

    /// The words of a vocabulary, by token id. A token that the merges never reach is none.
    fn of(tokenizer: &Tokenizer) -> Self {
        let mut words: Vec<(TokenId, Box<str>)> = tokenizer
            .get_vocab(false)
            .into_iter()
            .filter_map(|(token, id)| {
                let word = token.strip_prefix(SPACE)?;
                let plain = word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase());
                plain.then(|| (id, format!(" {word}").into_boxed_str()))
            })
            .collect();
        words.retain(|(id, word)| {
            tokenizer.encode_fast(&**word, false).is_ok_and(|encoding| encoding.get_ids() == [*id])
        });
        words.sort_unstable();
        Self { words, vocabulary: tokenizer.get_vocab_size(true) }
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The tokens of the words, in ascending order.
    pub fn tokens(&self) -> impl Iterator<Item = TokenId> {
        self.words.iter().map(|(id, _)| *id)
    }

    /// How many tokens the vocabulary has, special ones included.
    pub(crate) const fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The nth word with its space, and its token.
    pub(crate) fn nth(&self, n: usize) -> (TokenId, &str) {
        let (id, word) = &self.words[n];
        (*id, word)
    }

    /// Text of exactly `tokens` tokens, always the same for an `id`, and its beginning the same for any length.
    ///
    /// It begins with a space: texts of this kind can be concatenated, and their tokens add up.
    pub fn text_for(&self, id: u64, tokens: usize) -> String {
        let mut numbers = SplitMix64::new(id);
        (0..tokens).map(|_| self.nth(numbers.below(self.words.len())).1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tokenizer/tokenizer.json");

    #[test]
    fn the_tokens_of_concatenated_texts_add_up() {
        let words = Words::load(TOKENIZER).unwrap();
        let tokenizer = Tokenizer::from_file(TOKENIZER).unwrap();
        let lengths = [64, 1, 63, 64, 17, 2, 0, 64];
        let text: String =
            (0..400).zip(lengths.into_iter().cycle()).map(|(id, tokens)| words.text_for(id, tokens)).collect();
        let expected: usize = lengths.iter().cycle().take(400).sum();

        assert_eq!(tokenizer.encode(text, true).unwrap().len(), expected);
    }

    #[test]
    fn an_id_has_one_text_and_other_ids_have_others() {
        let words = Words::load(TOKENIZER).unwrap();

        assert_eq!(words.text_for(3, 64), words.text_for(3, 64));
        assert!(words.text_for(3, 64).starts_with(&words.text_for(3, 20)));
        assert_ne!(words.text_for(3, 64), words.text_for(4, 64));
        assert!(words.len() >= MIN_WORDS, "{} words", words.len());
    }

    #[test]
    fn a_vocabulary_with_too_few_words_says_how_many_it_has() {
        let words = Words::load(TOKENIZER).unwrap();
        let error = Words::load_at_least(TOKENIZER, words.len() + 1).unwrap_err().to_string();
        assert!(error.ends_with(&format!("has {} single-token words, {} are needed", words.len(), words.len() + 1)));
        assert_eq!(words.tokens().count(), words.len());
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_named() {
        let error = Words::load("no/such/tokenizer.json").unwrap_err();
        assert_eq!(error.to_string(), "no/such/tokenizer.json is no tokenizer");
    }
}
