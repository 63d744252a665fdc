//! A trace of requests, in the form that was published with Mooncake, served by engines that prefer a known prefix.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use llmd_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::engine::{Engine, Removals};
use super::{BLOCK_SIZE, Stream, chain};
use crate::chance::{Chance, mix};

/// Tokens that one id of the trace stands for.
const TRACE_BLOCK: usize = 512;
/// Every so many blocks, the router remembers where a prefix went.
const STRIDE: usize = 8;
/// A prefix that is shared by fewer blocks than this says nothing about where a request should go.
const SHARED_BY_ALL: usize = 40;

/// A line of the file.
#[derive(Debug, Deserialize)]
struct Line {
    input_length: usize,
    output_length: usize,
    hash_ids: Vec<u64>,
}

/// A request, by the ids of its blocks.
#[derive(Debug)]
pub(crate) struct Request {
    prompt: Vec<u64>,
    output: usize,
}

/// The first `limit` requests of a file, in its order.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it cannot be read; [`ErrorKind::Invalid`] when a line is not of that form.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<Request>> {
    let text = fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot read {}", path.display())).with_source(error)
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty()).take(limit);
    let requests = lines.map(|(number, line)| {
        let line: Line = serde_json::from_str(line).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("{}, line {}", path.display(), number + 1)).with_source(error)
        })?;
        let ids = line.hash_ids.iter().flat_map(|&id| {
            (0..TRACE_BLOCK / BLOCK_SIZE).map(move |part| mix((id + 1).wrapping_mul(64) + part as u64))
        });
        let prompt = ids.take(line.input_length / BLOCK_SIZE).collect();
        Ok(Request { prompt, output: line.output_length / BLOCK_SIZE })
    });
    let requests = requests.filter(|request| request.as_ref().map_or(true, |request| !request.prompt.is_empty()));
    requests.collect()
}

/// `workers` engines with caches of `capacity` blocks serve the requests; 85 in 100 go where most of their prompt went
/// last, the others to the less busy of two. Each is asked for before it is served.
pub(crate) fn stream(requests: &[Request], workers: usize, capacity: usize, removals: Removals) -> Stream {
    let (mut chance, mut stream) = (Chance::new(7), Stream::new(workers));
    let mut engines: Vec<_> = (0..workers).map(|worker| Engine::new(worker as u32, capacity, removals)).collect();
    let mut went: HashMap<u64, usize> = HashMap::new();
    let mut served = vec![0; workers];
    for request in requests {
        let ids = [request.prompt.clone(), chance.fresh(request.output)].concat();
        let blocks = chain(&ids);
        let (prompt, output) = blocks.split_at(request.prompt.len());
        stream.ask(&request.prompt);

        let deepest =
            prompt.iter().enumerate().rev().step_by(STRIDE).find_map(|(n, block)| Some((n, went.get(&block.name)?)));
        let known = deepest.filter(|&(n, _)| n > SHARED_BY_ALL).map(|(_, &worker)| worker);
        let (one, other) = (chance.below(workers), chance.below(workers));
        let idle = if served[one] <= served[other] { one } else { other };
        let worker = known.filter(|_| chance.unit() < 0.85).unwrap_or(idle);
        served[worker] += prompt.len();
        let remembered = prompt.iter().step_by(STRIDE).chain(prompt.last());
        went.extend(remembered.map(|block| (block.name, worker)));

        engines[worker].serve(&mut stream, prompt, output);
    }
    stream
}
