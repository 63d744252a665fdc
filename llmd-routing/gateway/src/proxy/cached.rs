//! Writes into an answer how many tokens of its prompt were cached where that was prefilled.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use llmd_routing::connector::{CachedTokens, CachedTokensStream};

/// How many bytes of an answer that does not stream are held until its end is there. A longer one goes on as it is.
const MAX_WHOLE: usize = 16 << 20;

/// An answer that is written anew as it passes.
#[derive(Debug)]
pub(super) enum Rewriting {
    /// A stream of events, each of which goes on when its line is complete.
    Events(CachedTokensStream),
    /// One that was too long to be held.
    TooLong,
    /// JSON, which goes on when all of it is there.
    Whole(CachedTokens, Vec<u8>),
}

impl Rewriting {
    /// For an answer with this head, whose length is then not what it says. `None` when it is compressed and cannot be read.
    pub(super) fn new(tokens: u64, headers: &mut HeaderMap) -> Option<Self> {
        if headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        headers.remove(CONTENT_LENGTH);
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        Some(match kind.starts_with("text/event-stream") {
            true => Self::Events(CachedTokensStream::new(tokens)),
            false => Self::Whole(CachedTokens::new(tokens), Vec::new()),
        })
    }

    /// Takes in a piece, and gives what can go on.
    pub(super) fn push(&mut self, piece: Bytes) -> Bytes {
        match self {
            Self::Events(stream) => {
                let mut out = Vec::with_capacity(piece.len() + 64);
                stream.push(&piece, &mut out);
                out.into()
            }
            Self::TooLong => piece,
            Self::Whole(_, held) => {
                held.extend_from_slice(&piece);
                if held.len() <= MAX_WHOLE {
                    return Bytes::new();
                }
                let held = std::mem::take(held);
                *self = Self::TooLong;
                held.into()
            }
        }
    }

    /// What is left at the end.
    pub(super) fn finish(self) -> Bytes {
        match self {
            Self::Events(stream) => {
                let mut out = Vec::new();
                stream.finish(&mut out);
                out.into()
            }
            Self::TooLong => Bytes::new(),
            Self::Whole(tokens, held) => tokens.rewrite(&held).into_owned().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(kind: &'static str, text: &str, size: usize) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
        headers.insert(CONTENT_LENGTH, text.len().into());
        let mut rewriting = Rewriting::new(7, &mut headers).unwrap();
        assert!(!headers.contains_key(CONTENT_LENGTH));
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            out.extend_from_slice(&rewriting.push(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&rewriting.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_says_what_was_cached_whole_and_as_a_stream() {
        let usage = r#"{"usage":{"prompt_tokens_details":{"cached_tokens":3}}}"#;
        let told = usage.replace('3', "7");
        for size in [1, 5, 1000] {
            assert_eq!(rewritten("application/json", usage, size), told);
            let stream = format!("data: {usage}\n\ndata: [DONE]\n\n");
            assert_eq!(
                rewritten("text/event-stream; charset=utf-8", &stream, size),
                format!("data: {told}\n\ndata: [DONE]\n\n")
            );
        }
    }

    #[test]
    fn one_that_is_too_long_goes_on_as_it_is() {
        let long = format!(r#"{{"text":"{}","usage":{{}}}}"#, "x".repeat(MAX_WHOLE));
        assert!(rewritten("application/json", &long, 1 << 20) == long);
    }

    #[test]
    fn one_that_is_compressed_is_left_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
        assert!(Rewriting::new(7, &mut headers).is_none());
    }
}
