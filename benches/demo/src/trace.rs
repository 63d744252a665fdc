//! The trace: who asks what when, as Mooncake published it, scaled to the simulated engines.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use serde::Deserialize;

/// Arrivals come this many times faster than they were recorded.
pub(crate) const RATE: f64 = 1.6;
/// One simulated token stands for this many tokens of the trace.
pub(crate) const SCALE: usize = 8;
/// Tokens of the trace under one of its `hash_ids`.
const TRACE_BLOCK: usize = 512;
/// Simulated tokens under one of its `hash_ids`.
pub(crate) const TOKENS_PER_ID: usize = TRACE_BLOCK / SCALE;

/// The trace that comes with the repository: see `tests/fixtures/mooncake/README.md`.
const EMBEDDED: &str = include_str!("../../../tests/fixtures/mooncake/conversation-1500.jsonl");

/// The requests of a trace, in order of arrival.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) arrivals: Vec<Arrival>,
}

/// One request of a trace, in simulated tokens and engine time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Arrival {
    /// Engine time since the first arrival of the trace.
    pub(crate) at: Duration,
    /// Simulated tokens of the prompt.
    pub(crate) prompt_tokens: usize,
    /// Simulated tokens of the answer, at least 1.
    pub(crate) output_tokens: usize,
    ids: Vec<u64>,
}

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: usize,
    output_length: usize,
    hash_ids: Vec<u64>,
}

impl Trace {
    /// The first `limit` requests of the file at `path`, or of the trace that comes with the repository.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the file cannot be read, holds no request, or has a line that is not one, which is
    /// named.
    pub(crate) fn load(path: Option<&Path>, limit: usize) -> Result<Self> {
        let Some(path) = path else { return Self::parse(EMBEDDED, limit) };
        let at = |error: Error| Error::new(error.kind(), format!("trace {}: {error}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| {
            let advice = "give another file with --trace, or leave it out for the one that comes with the demo";
            Error::new(ErrorKind::Invalid, format!("cannot read the trace {}: {error}; {advice}", path.display()))
        })?;
        Self::parse(&text, limit).map_err(at)
    }

    fn parse(text: &str, limit: usize) -> Result<Self> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).take(limit);
        let mut arrivals = lines
            .map(|(n, line)| {
                Arrival::parse(line).map_err(|why| Error::new(ErrorKind::Invalid, format!("line {}: {why}", n + 1)))
            })
            .collect::<Result<Vec<_>>>()?;
        let Some(first) = arrivals.iter().map(|arrival| arrival.at).min() else {
            return Err(Error::new(ErrorKind::Invalid, "holds no request"));
        };
        arrivals.sort_by_key(|arrival| arrival.at);
        arrivals.iter_mut().for_each(|arrival| arrival.at -= first);
        Ok(Self { arrivals })
    }

    /// Simulated tokens that a cache needs to hold every prompt of the trace once.
    pub(crate) fn unique_tokens(&self) -> usize {
        let ids: HashSet<u64> = self.arrivals.iter().flat_map(|arrival| &arrival.ids).copied().collect();
        ids.len() * TOKENS_PER_ID
    }

    /// Simulated tokens of the longest prompt with its answer.
    pub(crate) fn longest(&self) -> usize {
        self.arrivals.iter().map(|arrival| arrival.prompt_tokens + arrival.output_tokens).max().unwrap_or(0)
    }
}

impl Arrival {
    fn parse(line: &str) -> Result<Self, String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let ids = line.hash_ids.len();
        if ids == 0 {
            return Err("hash_ids is empty: expected one for every 512 tokens".to_owned());
        }
        let fits = TRACE_BLOCK * (ids - 1) + 1..=TRACE_BLOCK * ids;
        if !fits.contains(&line.input_length) {
            let expected = format!("expected {} to {}", fits.start(), fits.end());
            return Err(format!("input_length {} does not fit {ids} hash_ids: {expected}", line.input_length));
        }
        let at = Duration::try_from_secs_f64(line.timestamp / 1000.0 / RATE)
            .map_err(|_| format!("timestamp {}: expected milliseconds, 0 or more", line.timestamp))?;
        Ok(Self {
            at,
            prompt_tokens: scaled(line.input_length),
            output_tokens: scaled(line.output_length),
            ids: line.hash_ids,
        })
    }

    /// The pieces of the prompt: which text, and how many simulated tokens of it. Only the last one may be cut.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        let mut left = self.prompt_tokens;
        self.ids.iter().filter_map(move |&id| {
            let tokens = left.min(TOKENS_PER_ID);
            left -= tokens;
            (tokens > 0).then_some((id, tokens))
        })
    }

    /// What tells one conversation from another: the first piece that is not the root which nearly all share.
    pub(crate) fn session(&self) -> u64 {
        *self.ids.get(1).unwrap_or(&self.ids[0])
    }
}

/// Simulated tokens for `tokens` of the trace, rounded, at least one.
fn scaled(tokens: usize) -> usize {
    ((tokens + SCALE / 2) / SCALE).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
{"timestamp": 1000, "input_length": 1000, "output_length": 81, "hash_ids": [0, 7]}
{"timestamp": 2600, "input_length": 600, "output_length": 1, "hash_ids": [0, 8]}
"#;

    #[test]
    fn times_and_tokens_are_scaled() {
        let trace = Trace::parse(TWO, 10).unwrap();

        assert_eq!(trace.arrivals[0].at, Duration::ZERO);
        assert_eq!(trace.arrivals[1].at, Duration::from_secs(1));
        assert_eq!((trace.arrivals[0].prompt_tokens, trace.arrivals[0].output_tokens), (125, 10));
        assert_eq!((trace.arrivals[1].prompt_tokens, trace.arrivals[1].output_tokens), (75, 1));
        assert_eq!(trace.unique_tokens(), 3 * 64);
    }

    #[test]
    fn prompts_share_what_the_trace_shares() {
        let trace = Trace::parse(TWO, 10).unwrap();
        let pieces: Vec<Vec<_>> = trace.arrivals.iter().map(|arrival| arrival.pieces().collect()).collect();

        assert_eq!(pieces, [vec![(0, 64), (7, 61)], vec![(0, 64), (8, 11)]]);
        assert_eq!(trace.arrivals[0].session(), 7);
    }

    #[test]
    fn pieces_sum_to_the_prompt_in_the_whole_trace() {
        let trace = Trace::load(None, usize::MAX).unwrap();

        assert_eq!(trace.arrivals.len(), 1500);
        assert_eq!(trace.unique_tokens(), 30_634 * 64);
        for arrival in &trace.arrivals {
            assert_eq!(arrival.pieces().map(|(_, tokens)| tokens).sum::<usize>(), arrival.prompt_tokens);
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, message) in [
            ("{}", "line 2: missing field `timestamp` at line 1 column 2"),
            (
                r#"{"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": [1, 2]}"#,
                "line 2: input_length 9 does not fit 2 hash_ids: expected 513 to 1024",
            ),
            (
                r#"{"timestamp": -5, "input_length": 9, "output_length": 1, "hash_ids": [1]}"#,
                "line 2: timestamp -5: expected milliseconds, 0 or more",
            ),
            (
                r#"{"timestamp": 0, "input_length": 0, "output_length": 1, "hash_ids": []}"#,
                "line 2: hash_ids is empty: expected one for every 512 tokens",
            ),
        ] {
            let error = Trace::parse(&format!("\n{line}"), 10).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, message));
        }
    }

    #[test]
    fn a_missing_or_empty_file_says_which_and_what_to_do() {
        let missing = Trace::load(Some(Path::new("no/such/trace")), 10).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read the trace no/such/trace: "), "{missing}");
        assert!(missing.contains("--trace"), "{missing}");

        assert_eq!(Trace::parse("\n\n", 10).unwrap_err().to_string(), "holds no request");
    }
}
