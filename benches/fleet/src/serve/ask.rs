//! What clients ask: bodies of `/v1/completions` and `/v1/chat/completions`, read strictly where an answer depends on it.

use llmd_core::TokenId;
use serde::Deserialize;
use serde_json::Value;

use super::kv::KvTransferParams;
use super::refusal::Refusal;

/// What both kinds of request have.
#[derive(Debug, Deserialize)]
pub(super) struct Ask {
    pub(super) model: Option<String>,
    pub(super) prompt: Option<Prompt>,
    pub(super) messages: Option<Value>,
    pub(super) tools: Option<Value>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    pub(super) stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    pub(super) cache_salt: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) seed: Option<i64>,
    return_token_ids: Option<bool>,
    pub(super) kv_transfer_params: Option<KvTransferParams>,
    // What the engine cannot do, so that it can say so.
    n: Option<i64>,
    best_of: Option<i64>,
    echo: Option<bool>,
    logprobs: Option<Value>,
    prompt_logprobs: Option<Value>,
    suffix: Option<String>,
}

/// A prompt in one of the shapes that OpenAI allows.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Prompt {
    Text(String),
    Tokens(Vec<TokenId>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<TokenId>>),
}

/// A prompt, one of one.
#[derive(Debug)]
pub(super) enum OnePrompt {
    Text(String),
    Tokens(Vec<TokenId>),
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl Ask {
    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let ask: Self = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad("body", format!("the body cannot be read: {error}")))?;
        ask.refuse_what_is_missing_here()?;
        Ok(ask)
    }

    fn refuse_what_is_missing_here(&self) -> Result<(), Refusal> {
        let one = |name, value: Option<i64>| match value {
            None | Some(1) => Ok(()),
            Some(value) => {
                Err(Refusal::bad(name, format!("{name} is {value}, expected 1: this engine gives one answer")))
            }
        };
        one("n", self.n)?;
        one("best_of", self.best_of)?;
        let asked = |value: &Option<Value>| !matches!(value, None | Some(Value::Null | Value::Bool(false)));
        for (name, asked) in [
            ("echo", self.echo == Some(true)),
            ("logprobs", asked(&self.logprobs)),
            ("prompt_logprobs", asked(&self.prompt_logprobs)),
            ("suffix", self.suffix.is_some()),
        ] {
            if asked {
                return Err(Refusal::bad(name, format!("{name} is not supported by this engine")));
            }
        }
        if self.stream_options.is_some() && !self.streams() {
            return Err(Refusal::bad("stream_options", "Stream options can only be defined when `stream=True`."));
        }
        if self.cache_salt.as_ref().is_some_and(String::is_empty) {
            return Err(Refusal::bad("cache_salt", "cache_salt is empty, expected at least one character"));
        }
        Ok(())
    }

    pub(super) fn streams(&self) -> bool {
        self.stream == Some(true)
    }

    pub(super) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true))
    }

    pub(super) fn wants_token_ids(&self) -> bool {
        self.return_token_ids == Some(true)
    }

    /// How many tokens are asked for, if the request says.
    pub(super) fn max_tokens(&self) -> Result<Option<usize>, Refusal> {
        let asked = self.max_completion_tokens.or(self.max_tokens);
        match asked.map(|tokens| (usize::try_from(tokens), tokens)) {
            None => Ok(None),
            Some((Ok(tokens), _)) if tokens > 0 => Ok(Some(tokens)),
            Some((_, tokens)) => {
                Err(Refusal::bad("max_tokens", format!("max_tokens must be at least 1, got {tokens}.")))
            }
        }
    }

    /// The prompt of a completion.
    pub(super) fn take_prompt(&mut self) -> Result<OnePrompt, Refusal> {
        let many = |prompts: usize| {
            Refusal::bad("prompt", format!("the list has {prompts} prompts, expected 1: send one request per prompt"))
        };
        let prompt = match self.prompt.take() {
            None => return Err(Refusal::bad("prompt", "there is no prompt")),
            Some(Prompt::Text(text)) => OnePrompt::Text(text),
            Some(Prompt::Tokens(tokens)) => OnePrompt::Tokens(tokens),
            Some(Prompt::Texts(texts)) => match <[String; 1]>::try_from(texts) {
                Ok([text]) => OnePrompt::Text(text),
                Err(texts) => return Err(many(texts.len())),
            },
            Some(Prompt::TokenLists(lists)) => match <[Vec<TokenId>; 1]>::try_from(lists) {
                Ok([tokens]) => OnePrompt::Tokens(tokens),
                Err(lists) => return Err(many(lists.len())),
            },
        };
        Ok(prompt)
    }
}
