//! The requests as they go over the wire: bodies made once, sent under every policy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::trace::Trace;

/// The model's name, on the engines and in every request.
pub(crate) const MODEL: &str = "tiny";

/// One request, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Engine time since the first arrival.
    pub(crate) at: Duration,
    /// What the header `x-session-id` says.
    pub(crate) session: String,
    /// The body of `POST /v1/completions`.
    pub(crate) body: Bytes,
    /// Tokens of the prompt, as the engine will count them.
    pub(crate) prompt_tokens: usize,
}

impl Job {
    /// A streamed completion of `max_tokens` tokens that ends with the usage.
    pub(crate) fn new(at: Duration, session: String, prompt: &Prompt, max_tokens: usize, draw: Draw) -> Self {
        let mut body = json!({
            "model": prompt.adapter.as_deref().unwrap_or(MODEL),
            "prompt": prompt.text,
            "max_tokens": max_tokens,
            "ignore_eos": true,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        match draw {
            Draw::Likeliest => body["temperature"] = json!(0),
            Draw::Seeded(seed) => body["seed"] = json!(seed),
        }
        if let Some(salt) = &prompt.salt {
            body["cache_salt"] = json!(salt);
        }
        if !prompt.answer.is_empty() {
            body["allowed_token_ids"] = json!(&*prompt.answer);
        }
        Self { at, session, body: body.to_string().into(), prompt_tokens: prompt.tokens }
    }
}

/// How the tokens of an answer are drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    /// The likeliest each time. On processors vLLM 0.32 ends at a request with a seed whose prompt it computes in parts.
    Likeliest,
    /// By chance, from this seed.
    Seeded(u64),
}

/// The text of a prompt, how many tokens it is, and what keeps its cache apart from others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    pub(crate) tokens: usize,
    pub(crate) salt: Option<String>,
    /// The adapter that answers, in place of the model itself.
    pub(crate) adapter: Option<String>,
    /// The only tokens of which the answer may be made; any, when there is none.
    pub(crate) answer: Arc<[u32]>,
}

impl Prompt {
    /// Adds a piece of text.
    pub(crate) fn push(&mut self, text: &str, tokens: usize) {
        self.text.push_str(text);
        self.tokens += tokens;
    }
}

/// The requests of a trace; `text_for(id, tokens)` gives the text of a piece.
pub(crate) fn jobs(trace: &Trace, seed: u64, text_for: impl Fn(u64, usize) -> String) -> Vec<Arc<Job>> {
    let job = |(n, arrival): (u64, &crate::trace::Arrival)| {
        let mut prompt = Prompt::default();
        for (id, tokens) in arrival.pieces() {
            prompt.push(&text_for(id, tokens), tokens);
        }
        let session = format!("s{}", arrival.session());
        Arc::new(Job::new(arrival.at, session, &prompt, arrival.output_tokens, Draw::Seeded(seed.wrapping_add(n))))
    };
    (0..).zip(&trace.arrivals).map(job).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn words(id: u64, tokens: usize) -> String {
        format!(" w{id}").repeat(tokens)
    }

    #[test]
    fn prompts_have_the_tokens_and_the_shared_beginnings_of_the_trace() {
        let trace = Trace::load(None, 40).unwrap();
        let jobs = jobs(&trace, 7, words);
        let prompts: Vec<String> = jobs
            .iter()
            .map(|job| serde_json::from_slice::<Value>(&job.body).unwrap()["prompt"].as_str().unwrap().to_owned())
            .collect();

        assert_eq!(jobs.len(), 40);
        for ((job, prompt), arrival) in jobs.iter().zip(&prompts).zip(&trace.arrivals) {
            assert_eq!(prompt.split_whitespace().count(), arrival.prompt_tokens);
            assert_eq!(job.prompt_tokens, arrival.prompt_tokens);
            assert!(prompt.starts_with(&words(0, 64)), "the root is shared");
        }
        assert_ne!(prompts[0], prompts[1]);
    }

    #[test]
    fn a_body_asks_for_a_stream_with_usage() {
        let mut prompt = Prompt { salt: Some("tenant".to_owned()), ..Prompt::default() };
        prompt.push(" a b", 2);
        let job = Job::new(Duration::ZERO, "s".to_owned(), &prompt, 5, Draw::Seeded(9));

        let body: Value = serde_json::from_slice(&job.body).unwrap();
        let expected = json!({
            "model": "tiny", "prompt": " a b", "max_tokens": 5, "ignore_eos": true, "seed": 9, "stream": true,
            "stream_options": {"include_usage": true}, "cache_salt": "tenant",
        });
        assert_eq!(body, expected);
    }
}
