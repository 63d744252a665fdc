//! From prompts to token ids, as the engine makes them.
//!
//! What vLLM does with a model's `tokenizer.json` and chat template is done here in the same way, so that the blocks of
//! a prompt get the same names. It is work for the CPU: about a microsecond per few bytes, so more than a millisecond
//! for prompts beyond some kilobytes; whoever serves others on the same thread runs it elsewhere.

mod config;
mod estimate;
mod messages;
mod python;
mod strftime;
mod template;

use std::path::Path;

pub use estimate::{estimate, estimate_chat};
use llmd_core::{Error, ErrorKind, Result, TokenId};
use serde_json::Value;

use config::Config;
use template::ChatTemplate;

/// A model's tokenizer, with its chat template if it has one.
///
/// ```no_run
/// use llmd_gateway::tokenize::Tokenizer;
/// use serde_json::json;
///
/// let tokenizer = Tokenizer::load("models/qwen/tokenizer.json".as_ref())?;
/// let prompt = tokenizer.completion("Once upon a time")?;
/// let chat = tokenizer.chat(&json!([{"role": "user", "content": "Hello"}]), None)?;
/// # Ok::<(), llmd_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    config: Config,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, and beside it, where they are, `tokenizer_config.json` and `chat_template.jinja`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when a file cannot be read or is not what its name says, with the path.
    pub fn load(path: &Path) -> Result<Self> {
        let unreadable = |error| config::invalid(path, "is no tokenizer").with_source(error);
        let mut tokenizer = tokenizers::Tokenizer::from_file(path).map_err(unreadable)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(unreadable)?;
        let config = Config::load(path.parent().unwrap_or_else(|| Path::new("")))?;
        Ok(Self { tokenizer, config })
    }

    /// The tokens of a prompt of `/v1/completions`, with those that the tokenizer puts around every text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the tokenizer refuses the text.
    pub fn completion(&self, prompt: &str) -> Result<Vec<TokenId>> {
        self.encode(prompt, true)
    }

    /// The tokens of a conversation of `/v1/chat/completions`, up to where the assistant is to speak.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when the model has no chat template, or a message has a part that is not text;
    /// [`ErrorKind::Invalid`] when `messages` is no conversation, or the template refuses it.
    pub fn chat(&self, messages: &Value, tools: Option<&Value>) -> Result<Vec<TokenId>> {
        self.encode(&self.render(messages, tools)?, false)
    }

    /// The text of a conversation, as its chat template writes it.
    ///
    /// # Errors
    ///
    /// As [`chat`](Self::chat).
    pub fn render(&self, messages: &Value, tools: Option<&Value>) -> Result<String> {
        self.template(tools)?.render(messages, tools)
    }

    fn template(&self, tools: Option<&Value>) -> Result<&ChatTemplate> {
        self.config.template(tools.is_some()).ok_or_else(|| {
            let message = "the model has no chat template: put chat_template.jinja beside its tokenizer.json";
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<TokenId>> {
        let encoding = self.tokenizer.encode_fast(text, add_special_tokens).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("a text of {} bytes cannot be tokenized", text.len()))
                .with_source(error)
        })?;
        Ok(encoding.get_ids().to_vec())
    }
}
