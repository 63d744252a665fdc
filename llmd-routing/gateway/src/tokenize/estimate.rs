//! Pseudo tokens for those without a tokenizer: equal texts get equal ones, of about the right number.

use llmd_core::TokenId;
use serde_json::Value;

/// One pseudo token per 4 bytes, little-endian, the last filled up with zeros: what llm-d's token producer does when it
/// estimates.
pub fn estimate(text: &[u8]) -> Vec<TokenId> {
    let word = |bytes: &[u8]| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(word)
    };
    text.chunks(4).map(word).collect()
}

/// The same for a conversation: its tools as JSON, then the role and the text of every message.
pub fn estimate_chat(messages: &Value, tools: Option<&Value>) -> Vec<TokenId> {
    let mut text = tools.map(Value::to_string).unwrap_or_default();
    for message in messages.as_array().into_iter().flatten() {
        text.push_str(message["role"].as_str().unwrap_or_default());
        match &message["content"] {
            Value::Array(parts) => {
                text.extend(parts.iter().filter_map(|part| part["text"].as_str()));
            }
            content => text.push_str(content.as_str().unwrap_or_default()),
        }
    }
    estimate(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn four_bytes_are_a_token() {
        assert!(estimate(b"").is_empty());
        assert_eq!(estimate(b"abcd\x01"), [0x6463_6261, 1]);
    }

    #[test]
    fn a_conversation_is_its_tools_roles_and_texts() {
        let messages =
            json!([{"role": "user", "content": "hi"}, {"role": "tool", "content": [{"type": "text", "text": "x"}]}]);
        assert_eq!(estimate_chat(&messages, Some(&json!([1]))), estimate(b"[1]userhitoolx"));
    }
}
