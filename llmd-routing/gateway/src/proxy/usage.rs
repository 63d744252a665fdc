//! What an answer says about its tokens, found at its end without reading the rest.

use bytes::Bytes;
use serde::Deserialize;
use smallvec::SmallVec;

/// How many bytes of the end of an answer are looked at.
const TAIL_BYTES: usize = 4096;

/// How many pieces of the end of an answer are kept: vLLM sends the usage, then `[DONE]`, each in a piece of its own or
/// both in one.
const TAIL_PIECES: usize = 4;

/// The last pieces of an answer. They are kept, not copied.
#[derive(Debug, Default)]
pub(crate) struct Tail(SmallVec<[Bytes; TAIL_PIECES]>);

/// The tokens of one answer, as the engine counted them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub(crate) struct TokenUsage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    prompt_tokens_details: Option<PromptTokensDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
struct PromptTokensDetails {
    cached_tokens: Option<u64>,
}

impl TokenUsage {
    /// Prompt tokens that the engine took from its cache; `None` when it does not say.
    pub(crate) fn cached_tokens(&self) -> Option<u64> {
        self.prompt_tokens_details?.cached_tokens
    }
}

impl Tail {
    pub(crate) fn push(&mut self, piece: &Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.0.len() == TAIL_PIECES {
            self.0.remove(0);
        }
        self.0.push(piece.slice(piece.len().saturating_sub(TAIL_BYTES)..));
    }

    /// The usage that stands last in the answer; `None` when there is none, or the answer is compressed.
    pub(crate) fn usage(&self) -> Option<TokenUsage> {
        const NAME: &[u8] = b"\"usage\":";
        let tail = self.0.concat();
        // A quote within a generated text is escaped, and so never begins the name.
        let place = tail.windows(NAME.len()).rposition(|window| window == NAME)?;
        if place > 0 && tail[place - 1] == b'\\' {
            return None;
        }
        let mut values = serde_json::Deserializer::from_slice(&tail[place + NAME.len()..]).into_iter();
        values.next()?.ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(pieces: &[&str]) -> Option<TokenUsage> {
        let mut tail = Tail::default();
        for piece in pieces {
            tail.push(&Bytes::copy_from_slice(piece.as_bytes()));
        }
        tail.usage()
    }

    #[test]
    fn usage_is_found_in_the_last_chunk_of_a_stream() {
        let long = format!("data: {}\n\n", "x".repeat(10_000));
        let last = r#"data: {"choices":[],"usage":{"prompt_tokens":9,"total_tokens":11,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":8}}}"#;
        let found = usage(&[&long, &long, &long, last, "\n\ndata: [DONE]\n\n"]).unwrap();

        assert_eq!((found.prompt_tokens, found.completion_tokens, found.cached_tokens()), (9, 2, Some(8)));
    }

    #[test]
    fn usage_is_found_across_pieces_and_with_spaces() {
        let found =
            usage(&[r#"{"choices":[],"usa"#, r#"ge": {"prompt_tokens": 3, "prompt_tokens_details": null}, "x": 1}"#]);

        assert_eq!(found.map(|usage| (usage.prompt_tokens, usage.cached_tokens())), Some((3, None)));
    }

    #[test]
    fn an_answer_without_usage_has_none() {
        for text in ["", "data: [DONE]", r#"{"usage":null}"#, r#"{"usage":7}"#, r#"{"text":"\"usage\":{}"}"#] {
            assert_eq!(usage(&[text]), None, "{text}");
        }
    }
}
