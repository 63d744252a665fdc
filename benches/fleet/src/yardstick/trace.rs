//! A trace in Mooncake's format as a load.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result, TokenId};
use serde::Deserialize;

use crate::simulate::{Client, Load, Phase, Prompt, Stream, Turn};
use crate::splitmix::SplitMix64;

/// Tokens under one of a trace's `hash_ids`.
const TRACE_BLOCK: usize = 512;

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: usize,
    output_length: usize,
    hash_ids: Vec<u64>,
}

/// The requests of the trace at `path`, at the times at which they were recorded.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] when the file cannot be read, holds no request, or has a line that is not one, which is named.
pub(super) fn load(path: &Path, block_size: usize) -> Result<Load> {
    let wrong = |message: String| Error::new(ErrorKind::Invalid, format!("trace {}: {message}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    parse(&text, block_size).map_err(wrong)
}

fn parse(text: &str, block_size: usize) -> Result<Load, String> {
    let mut clients = Vec::new();
    // Traces repeat whole prompts; each is made once.
    let mut known: HashMap<(Vec<u64>, usize), Arc<Stream>> = HashMap::new();
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(line).map_err(|error| format!("line {}: {error}", n + 1))?;
        if line.hash_ids.len() * TRACE_BLOCK < line.input_length || line.input_length == 0 {
            let (tokens, ids) = (line.input_length, line.hash_ids.len());
            return Err(format!("line {}: input_length {tokens} does not fit {ids} hash_ids of 512 tokens", n + 1));
        }
        let at = Duration::try_from_secs_f64(line.timestamp / 1000.0)
            .map_err(|_| format!("line {}: timestamp {}, expected milliseconds, 0 or more", n + 1, line.timestamp))?;
        let stream = known.entry((line.hash_ids, line.input_length)).or_insert_with_key(|(ids, len)| {
            let tokens = ids.iter().flat_map(|&id| {
                let mut draw = SplitMix64::new(id ^ 0x6d6f_6f6e);
                (0..TRACE_BLOCK).map(move |_| (draw.next() >> 47) as TokenId)
            });
            Arc::new(Stream::new(tokens.take(*len).collect::<Vec<_>>(), block_size))
        });
        let turn = Turn {
            after: Duration::ZERO,
            prompt: Prompt::new(Arc::clone(stream), usize::MAX),
            output: line.output_length.max(1),
            follows: false,
            seed: n as u64,
        };
        clients.push(Client { at, turns: vec![turn] });
    }
    if clients.is_empty() {
        return Err("holds no request".to_owned());
    }
    Ok(Load { phases: vec![Phase { rate: 0.0, counts: true, clients, at_once: None }], pause: Duration::ZERO })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_when_they_were_recorded_and_share_what_they_shared() {
        let text = r#"
{"timestamp": 1000, "input_length": 1000, "output_length": 81, "hash_ids": [0, 7]}
{"timestamp": 2600, "input_length": 600, "output_length": 0, "hash_ids": [0, 8]}"#;
        let load = parse(text, 16).unwrap();
        let clients = &load.phases[0].clients;
        let [first, second] = [0, 1].map(|n| &clients[n].turns[0]);
        assert_eq!(clients.iter().map(|client| client.at.as_millis()).collect::<Vec<_>>(), [1000, 2600]);
        assert_eq!([first, second].map(|turn| (turn.prompt.len(), turn.output)), [(1000, 81), (600, 1)]);
        assert_eq!(first.prompt.tokens()[..512], second.prompt.tokens()[..512]);
        assert_ne!(first.prompt.tokens()[512], second.prompt.tokens()[512]);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let error = parse(r#"{"timestamp": 0, "input_length": 1000, "output_length": 1, "hash_ids": [0]}"#, 16);
        assert_eq!(error.unwrap_err(), "line 1: input_length 1000 does not fit 1 hash_ids of 512 tokens");
        assert_eq!(parse("", 16).unwrap_err(), "holds no request");
    }
}
