//! From the prompt of a request to tokens, as the plan's token producer says.

use std::sync::Arc;

use llmd_core::TokenId;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::fields::Fields;
use crate::plan::TokenSource;
use crate::tokenize::{Tokenizer, estimate, estimate_chat};

/// Prompts of up to so many bytes are turned into tokens where the request is handled; longer ones, which take more than
/// about a millisecond, on a thread for such work.
const INLINE_BYTES: usize = 2048;

/// What a path makes of the prompt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `/v1/chat/completions`: messages, through the model's template.
    Chat,
    /// `/v1/completions`: a text, or tokens.
    Completion,
    /// Any other path: its prompt is not looked at.
    Other,
}

impl Kind {
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/v1/chat/completions" => Self::Chat,
            "/v1/completions" => Self::Completion,
            _ => Self::Other,
        }
    }
}

/// Turns prompts into tokens, a bounded number at a time.
#[derive(Debug)]
pub(super) struct Prompts {
    source: TokenSource,
    turns: Semaphore,
}

/// A prompt, taken out of its request.
#[derive(Debug, PartialEq)]
enum Prompt {
    Chat { messages: serde_json::Value, tools: Option<serde_json::Value> },
    Text(String),
    Tokens(Vec<TokenId>),
}

impl Prompts {
    pub(super) fn new(source: TokenSource, at_a_time: usize) -> Self {
        Self { source, turns: Semaphore::new(at_a_time.max(1)) }
    }

    /// The tokens of a request's prompt; `None` when it has none that can be read. The request then goes on without: the
    /// engine says what is wrong with it.
    ///
    /// The error is a sentence for a log.
    pub(super) async fn tokens(&self, kind: Kind, fields: &Fields<'_>) -> Result<Option<Vec<TokenId>>, String> {
        let Some((prompt, size)) = prompt(kind, fields)? else { return Ok(None) };
        match &self.source {
            TokenSource::Estimate => Ok(Some(estimated(prompt))),
            TokenSource::Local(tokenizer) => self.tokenize(tokenizer, prompt, size).await.map(Some),
        }
    }

    async fn tokenize(&self, tokenizer: &Arc<Tokenizer>, prompt: Prompt, size: usize) -> Result<Vec<TokenId>, String> {
        if let Prompt::Tokens(tokens) = prompt {
            return Ok(tokens);
        }
        if size <= INLINE_BYTES {
            return run(tokenizer, &prompt);
        }
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        let tokenizer = Arc::clone(tokenizer);
        let tokens = tokio::task::spawn_blocking(move || run(&tokenizer, &prompt)).await;
        tokens.map_err(|error| error.to_string())?
    }
}

fn run(tokenizer: &Tokenizer, prompt: &Prompt) -> Result<Vec<TokenId>, String> {
    let tokens = match prompt {
        Prompt::Chat { messages, tools } => tokenizer.chat(messages, tools.as_ref()),
        Prompt::Text(text) => tokenizer.completion(text),
        Prompt::Tokens(tokens) => return Ok(tokens.clone()),
    };
    tokens.map_err(|error| error.to_string())
}

/// As llm-d estimates: tokens are taken as they are.
fn estimated(prompt: Prompt) -> Vec<TokenId> {
    match prompt {
        Prompt::Chat { messages, tools } => estimate_chat(&messages, tools.as_ref()),
        Prompt::Text(text) => estimate(text.as_bytes()),
        Prompt::Tokens(tokens) => tokens,
    }
}

/// The prompt and its size in bytes. Of a batch of prompts, the first: they go to one endpoint together.
fn prompt(kind: Kind, fields: &Fields<'_>) -> Result<Option<(Prompt, usize)>, String> {
    match kind {
        Kind::Chat => {
            let Some(messages) = fields.messages else { return Ok(None) };
            let size = messages.get().len();
            let (messages, tools) = (read(messages)?, fields.tools.map(read).transpose()?);
            Ok(Some((Prompt::Chat { messages, tools }, size)))
        }
        Kind::Completion => {
            let Some(raw) = fields.prompt else { return Ok(None) };
            let text = raw.get();
            let inner = text.strip_prefix('[').map(str::trim_start);
            let prompt = match (text.as_bytes().first(), inner.and_then(|inner| inner.bytes().next())) {
                (Some(b'"'), _) => Some(Prompt::Text(read(raw)?)),
                (Some(b'['), Some(b'"')) => read::<Vec<String>>(raw)?.into_iter().next().map(Prompt::Text),
                (Some(b'['), Some(b'[')) => read::<Vec<Vec<TokenId>>>(raw)?.into_iter().next().map(Prompt::Tokens),
                (Some(b'['), _) => Some(Prompt::Tokens(read(raw)?)),
                _ => return Err("the prompt is neither text nor tokens".into()),
            };
            Ok(prompt.map(|prompt| (prompt, text.len())))
        }
        Kind::Other => Ok(None),
    }
}

fn read<T: DeserializeOwned>(raw: &RawValue) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_prompt(kind: Kind, body: &str) -> Result<Option<Prompt>, String> {
        let fields = Fields::read(body.as_bytes()).unwrap();
        Ok(prompt(kind, &fields)?.map(|(prompt, _)| prompt))
    }

    #[test]
    fn a_prompt_is_a_text_or_tokens_and_of_a_batch_the_first() {
        let table = [
            (r#"{"prompt": "a\n"}"#, Some(Prompt::Text("a\n".into()))),
            (r#"{"prompt": ["b", "c"]}"#, Some(Prompt::Text("b".into()))),
            (r#"{"prompt": [ 1, 2 ]}"#, Some(Prompt::Tokens(vec![1, 2]))),
            (r#"{"prompt": [ [3], [4, 5] ]}"#, Some(Prompt::Tokens(vec![3]))),
            (r#"{"prompt": []}"#, Some(Prompt::Tokens(vec![]))),
            (r#"{"prompt": null}"#, None),
            ("{}", None),
        ];
        for (body, expected) in table {
            assert_eq!(read_prompt(Kind::Completion, body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn a_prompt_that_cannot_be_read_is_an_error_and_not_a_panic() {
        for body in [r#"{"prompt": 7}"#, r#"{"prompt": [1, "a"]}"#, r#"{"prompt": [-1]}"#, r#"{"prompt": {}}"#] {
            assert!(read_prompt(Kind::Completion, body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_chat_is_its_messages_and_tools() {
        let body = r#"{"messages": [{"role": "user", "content": "hi"}], "tools": []}"#;
        let expected = Prompt::Chat { messages: json!([{"role": "user", "content": "hi"}]), tools: Some(json!([])) };
        assert_eq!(read_prompt(Kind::Chat, body), Ok(Some(expected)));
        assert_eq!(read_prompt(Kind::Other, body), Ok(None));
    }
}
