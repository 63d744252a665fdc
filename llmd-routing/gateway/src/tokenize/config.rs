//! What lies beside a `tokenizer.json`: special tokens and chat templates.

use std::io::ErrorKind as IoErrorKind;
use std::path::Path;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::template::ChatTemplate;

/// The chat templates of a model.
#[derive(Debug, Default)]
pub(super) struct Config {
    default: Option<ChatTemplate>,
    tool_use: Option<ChatTemplate>,
}

impl Config {
    /// Reads `chat_template.jinja`, which counts more, and `tokenizer_config.json`; either may be absent.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer_config.json");
        let config = match read(&path)? {
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| invalid(&path, "is no JSON object").with_source(error))?
            }
            None => Map::new(),
        };
        let tokens = special_tokens(&config);
        let compile = |path: &Path, source: &str| {
            ChatTemplate::new(source, tokens.clone())
                .map_err(|error| invalid(path, "has a chat template that is no Jinja").with_source(error))
        };
        let jinja = folder.join("chat_template.jinja");
        if let Some(source) = read(&jinja)? {
            return Ok(Self { default: Some(compile(&jinja, &source)?), tool_use: None });
        }
        let named = |name| named_template(&config, name).map(|source| compile(&path, source)).transpose();
        Ok(Self { default: named("default")?, tool_use: named("tool_use")? })
    }

    /// The template for a conversation with or without tools.
    pub(super) fn template(&self, tools: bool) -> Option<&ChatTemplate> {
        self.tool_use.as_ref().filter(|_| tools).or(self.default.as_ref())
    }
}

/// A chat template from `tokenizer_config.json`: one text, or a list of `{name, template}`.
fn named_template<'a>(config: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    match config.get("chat_template")? {
        Value::String(source) => (name == "default").then_some(source),
        Value::Array(list) => list.iter().find(|entry| entry["name"] == name)?["template"].as_str(),
        _ => None,
    }
}

/// What templates know by name: `bos_token` and its like, each a text or an object with its `content`.
fn special_tokens(config: &Map<String, Value>) -> Vec<(String, String)> {
    let token = |(name, value): (&String, &Value)| {
        let content = value.as_str().or_else(|| value.get("content")?.as_str())?;
        name.ends_with("_token").then(|| (name.clone(), content.to_owned()))
    };
    config.iter().filter_map(token).collect()
}

fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == IoErrorKind::NotFound => Ok(None),
        Err(error) => Err(invalid(path, "cannot be read").with_source(error)),
    }
}

/// The error that says what is wrong with a file.
pub(super) fn invalid(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{} {what}", path.display()))
}
