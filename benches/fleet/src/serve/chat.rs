//! A conversation as the text that the model continues.
use serde_json::Value;

use super::refusal::Refusal;

pub(super) fn chat_text(messages: &Value) -> Result<String, Refusal> {
    let messages = messages.as_array().ok_or_else(|| Refusal::bad("messages", "messages is no list"))?;
    let mut text = String::new();
    for message in messages {
        let role = message["role"].as_str().unwrap_or("user");
        let content = message["content"].as_str().unwrap_or_default();
        text.push_str(&format!("<|im_start|>{role}\n{content}<|im_end|>\n"));
    }
    text.push_str("<|im_start|>assistant\n");
    Ok(text)
}
