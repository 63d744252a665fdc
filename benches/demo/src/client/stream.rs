//! One exchange: a completion read as server-sent events.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{HeaderName, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;

use super::{Client, Outcome, Sample};
use crate::workload::Job;

/// How long a request may take in all, in wall time.
const DEADLINE: Duration = Duration::from_secs(120);
/// A line of an answer longer than this is no server-sent event of ours.
const MAX_LINE: usize = 1 << 20;

/// Sends `job` and reads the answer to its end, noting in `sample` what comes by.
pub(super) async fn exchange(client: &Client, job: &Job, sample: &mut Sample, start: Duration) -> Outcome {
    let mut began = false;
    let exchange = run(client, job, sample, start, &mut began);
    let ended = tokio::time::timeout(DEADLINE, exchange).await;
    match ended.unwrap_or_else(|_| Err(format!("not ended after {} s", DEADLINE.as_secs()))) {
        Ok(()) => Outcome::Done,
        Err(why) if began => Outcome::Cut(why),
        Err(why) => Outcome::Failed(why),
    }
}

async fn run(client: &Client, job: &Job, sample: &mut Sample, start: Duration, began: &mut bool) -> Result<(), String> {
    let id = sample.id.clone();
    let headers = [
        (HeaderName::from_static("x-request-id"), id.as_str()),
        (HeaderName::from_static("x-session-id"), job.session.as_str()),
    ];
    let url = format!("{}/v1/completions", client.gateway);
    let response = client.http.stream(&url, job.body.clone(), &headers).await?;
    let status = response.status();
    sample.note(response.headers());
    let mut body = response.into_body();
    if status != StatusCode::OK {
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body).chars().take(200).collect::<String>()));
    }
    let mut events = Events::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| crate::http::with_causes(&error))?.into_data() else { continue };
        *began = *began || !data.is_empty();
        events.push(&data)?;
        if events.content && sample.first_token.is_none() {
            sample.first_token = Some(client.clock.now().saturating_sub(start));
        }
    }
    let usage = events.finish()?;
    sample.output_tokens = usage.completion_tokens;
    sample.cached = usage.prompt_tokens_details.map(|details| details.cached_tokens);
    if usage.prompt_tokens != sample.prompt_tokens {
        return Err(format!("the engine counts {} prompt tokens, not {}", usage.prompt_tokens, sample.prompt_tokens));
    }
    Ok(())
}

/// What has come of a stream of chunks.
#[derive(Debug, Default)]
struct Events {
    buffer: BytesMut,
    content: bool,
    usage: Option<Usage>,
    done: bool,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    prompt_tokens_details: Option<Details>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
struct Details {
    cached_tokens: usize,
}

impl Events {
    /// Takes bytes as they come, cut anywhere.
    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.buffer.extend_from_slice(bytes);
        while let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
            let line = self.buffer.split_to(end);
            self.buffer.advance(1);
            self.line(line.trim_ascii_end())?;
        }
        if self.buffer.len() > MAX_LINE {
            return Err(format!("a line of more than {MAX_LINE} bytes"));
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let Some(data) = line.strip_prefix(b"data:") else { return Ok(()) };
        let data = data.trim_ascii_start();
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        // Between the first token and the usage, nothing that a chunk says is of interest: parsing thousands of them a
        // second would take from the engines' time.
        if self.content && !holds_usage(data) {
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_slice(data)
            .map_err(|error| format!("a chunk that is none ({error}): {}", String::from_utf8_lossy(data)))?;
        self.content |= chunk.choices.iter().any(|choice| !choice.text.is_empty());
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        Ok(())
    }

    /// The usage, when the stream has ended as it should.
    fn finish(self) -> Result<Usage, String> {
        match self.usage {
            _ if !self.done => Err("the stream ended without [DONE]".to_owned()),
            Some(_) if !self.content => Err("the stream ended without content".to_owned()),
            Some(usage) => Ok(usage),
            None => Err("the stream ended without usage".to_owned()),
        }
    }
}

/// Whether a chunk has a usage that is not null, wherever it stands among the chunk's fields.
fn holds_usage(data: &[u8]) -> bool {
    let name = b"\"usage\":";
    let Some(place) = data.windows(name.len()).rposition(|window| window == name) else { return false };
    data[place + name.len()..].trim_ascii_start().starts_with(b"{")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "data: {\"choices\":[{\"index\":0,\"text\":\"\"}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"index\":0,\"text\":\" a\"}],\"usage\":null}\r\n\r\n",
        ": a comment\n",
        "data: {\"choices\":[{\"index\":0,\"text\":\" b\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11,",
        "\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n",
        "data: [DONE]\n\n",
    );

    fn read(stream: &str, cut: usize) -> Result<Events, String> {
        let mut events = Events::default();
        for piece in stream.as_bytes().chunks(cut) {
            events.push(piece)?;
        }
        Ok(events)
    }

    #[test]
    fn a_stream_reads_the_same_wherever_it_is_cut() {
        for cut in 1..STREAM.len() {
            let usage = read(STREAM, cut).unwrap().finish().unwrap();
            assert_eq!((usage.prompt_tokens, usage.completion_tokens), (9, 2));
            assert_eq!(usage.prompt_tokens_details, Some(Details { cached_tokens: 8 }));
        }
    }

    #[test]
    fn a_usage_is_found_wherever_it_stands() {
        assert!(holds_usage(br#"{"choices":[],"usage":{"prompt_tokens":9}}"#));
        assert!(holds_usage(br#"{"usage": {"prompt_tokens":9}, "system_fingerprint":null}"#));
        assert!(!holds_usage(br#"{"choices":[{"index":0}],"usage":null}"#));
        assert!(!holds_usage(br#"{"choices":[{"text":"{}}"}]}"#));
    }

    #[test]
    fn content_is_the_first_text_that_is_not_empty() {
        let lines: Vec<&str> = STREAM.split_inclusive('\n').collect();
        assert!(!read(lines[0], 64).unwrap().content);
        assert!(read(&lines[..3].concat(), 64).unwrap().content);
    }

    #[test]
    fn a_stream_that_breaks_off_or_lacks_usage_says_so() {
        let finish = |stream: &str| read(stream, 64).and_then(Events::finish).unwrap_err();
        assert_eq!(finish(&STREAM[..200]), "the stream ended without [DONE]");
        assert_eq!(finish("data: [DONE]\n"), "the stream ended without usage");
        assert!(finish("data: {nonsense\n").starts_with("a chunk that is none"));
    }
}
