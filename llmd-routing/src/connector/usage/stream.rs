//! The cached tokens of a response that streams.

use super::CachedTokens;

/// At most how many bytes of a line of a stream are held until its end is there. A longer line goes on as it is.
pub const MAX_LINE: usize = 1 << 20;

/// [`CachedTokens`] for a stream that comes in pieces, which end anywhere.
#[derive(Clone, Debug)]
pub struct CachedTokensStream {
    tokens: CachedTokens,
    /// The beginning of a line.
    held: Vec<u8>,
    /// Whether the line is too long, so that the rest of it goes on as it is.
    passing: bool,
    passed: u64,
}

impl CachedTokensStream {
    /// Writes this number.
    pub const fn new(tokens: u64) -> Self {
        Self { tokens: CachedTokens::new(tokens), held: Vec::new(), passing: false, passed: 0 }
    }

    /// Takes in a piece, and appends to `out` what can go on.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if self.passing {
                out.extend_from_slice(part);
                self.passing = !ends;
                continue;
            }
            self.held.extend_from_slice(part);
            if self.held.len() > MAX_LINE {
                out.append(&mut self.held);
                self.passed += 1;
                self.passing = !ends;
            } else if ends {
                out.extend_from_slice(&self.tokens.rewrite_line(&self.held));
                self.held.clear();
            }
        }
    }

    /// Ends the stream: what is left of a line that has no end is appended to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tokens.rewrite_line(&self.held));
        self.held.clear();
    }

    /// How many lines went on as they were because they were longer than [`MAX_LINE`].
    pub const fn passed(&self) -> u64 {
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "event: x\r\ndata: {\"choices\":[],\"usage\":null}\r\n\r\ndata:{\"usage\":{\"a\":1}} \n\n: usage\ndata: [DONE]\n\ndata: {\"usage\":{}}";
    const WRITTEN: &str = "event: x\r\ndata: {\"choices\":[],\"usage\":null}\r\n\r\ndata:{\"usage\":{\"a\":1,\"prompt_tokens_details\":{\"cached_tokens\":7}}} \n\n: usage\ndata: [DONE]\n\ndata: {\"usage\":{\"prompt_tokens_details\":{\"cached_tokens\":7}}}";

    #[test]
    fn a_stream_is_rewritten_wherever_its_pieces_end() {
        for size in 1..STREAM.len() + 1 {
            let (mut stream, mut out) = (CachedTokensStream::new(7), Vec::new());
            STREAM.as_bytes().chunks(size).for_each(|piece| stream.push(piece, &mut out));
            stream.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), WRITTEN, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_goes_on_as_it_is_and_is_counted() {
        let long = format!("data: {{\"usage\":{{\"x\":\"{}\"}}}}\n", "x".repeat(MAX_LINE));
        let (mut stream, mut out) = (CachedTokensStream::new(7), Vec::new());
        long.as_bytes().chunks(1000).for_each(|piece| stream.push(piece, &mut out));
        stream.push(b"data: {\"usage\":{}}\n", &mut out);
        assert_eq!(stream.passed(), 1);
        stream.finish(&mut out);
        let expected = long + "data: {\"usage\":{\"prompt_tokens_details\":{\"cached_tokens\":7}}}\n";
        assert!(out == expected.as_bytes());
    }
}
