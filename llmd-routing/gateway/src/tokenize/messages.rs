//! Messages of a request, as vLLM hands them to a chat template.

use llmd_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

/// How a template takes the content of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Content {
    /// As a list of parts.
    Parts,
    /// As one text: parts are joined by line ends.
    Text,
}

/// Brings every message's content into the form that is wanted, and the arguments of tool calls from text to objects.
pub(super) fn prepare(messages: &Value, form: Content) -> Result<Value> {
    let list = messages.as_array().ok_or_else(|| invalid(format!("expected a list of messages, found {messages}")))?;
    let prepared = list.iter().enumerate().map(|(place, message)| {
        let mut message =
            message.as_object().cloned().ok_or_else(|| invalid(format!("message {place} is no object: {message}")))?;
        let texts = texts(place, message.get("content").unwrap_or(&Value::Null))?;
        let content = match form {
            Content::Parts => texts.iter().map(|text| json!({"type": "text", "text": text})).collect(),
            Content::Text => texts.join("\n").into(),
        };
        message.insert("content".into(), content);
        read_arguments(place, &mut message)?;
        Ok(Value::Object(message))
    });
    prepared.collect()
}

/// The texts of a message's content: none, one, or one per part.
fn texts(place: usize, content: &Value) -> Result<Vec<&str>> {
    match content {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Array(parts) => parts.iter().map(|part| part_text(place, part)).collect(),
        _ => Err(invalid(format!("the content of message {place} is neither text nor parts: {content}"))),
    }
}

fn part_text(place: usize, part: &Value) -> Result<&str> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
    let field = match kind {
        "text" | "input_text" | "output_text" => "text",
        "refusal" => "refusal",
        _ => {
            let message = format!("message {place} has a part of type {kind:?}; only text can be tokenized");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    let text = part.as_str().or_else(|| part.get(field)?.as_str());
    text.ok_or_else(|| invalid(format!("message {place} has a part without text: {part}")))
}

fn read_arguments(place: usize, message: &mut Map<String, Value>) -> Result<()> {
    let Some(Value::Array(calls)) = message.get_mut("tool_calls") else { return Ok(()) };
    for call in calls {
        let Some(arguments) = call.pointer_mut("/function/arguments") else { continue };
        let Some(text) = arguments.as_str() else { continue };
        *arguments = match text {
            "" => json!({}),
            _ => serde_json::from_str(text).map_err(|error| {
                invalid(format!("a tool call of message {place} has arguments that are no JSON")).with_source(error)
            })?,
        };
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(messages: Value) -> (ErrorKind, String) {
        let error = prepare(&messages, Content::Text).unwrap_err();
        (error.kind(), error.to_string())
    }

    #[test]
    fn what_is_no_conversation_is_refused_by_value() {
        assert_eq!(refusal(json!("hi")), (ErrorKind::Invalid, "expected a list of messages, found \"hi\"".into()));
        assert_eq!(refusal(json!([1])), (ErrorKind::Invalid, "message 0 is no object: 1".into()));
        let number = json!([{"role": "user", "content": 7}]);
        assert_eq!(refusal(number).1, "the content of message 0 is neither text nor parts: 7");
    }

    #[test]
    fn parts_that_are_not_text_are_unsupported_by_name() {
        let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
        let message = "message 0 has a part of type \"image_url\"; only text can be tokenized";
        assert_eq!(refusal(image), (ErrorKind::Unsupported, message.into()));
    }

    #[test]
    fn arguments_of_tool_calls_become_objects() {
        let call =
            |arguments: Value| json!([{"role": "assistant", "tool_calls": [{"function": {"arguments": arguments}}]}]);
        let arguments = |value| {
            let prepared = prepare(&call(value), Content::Text).unwrap();
            prepared.pointer("/0/tool_calls/0/function/arguments").unwrap().clone()
        };
        assert_eq!(arguments(json!("{\"a\": 1}")), json!({"a": 1}));
        assert_eq!(arguments(json!("")), json!({}));
        assert_eq!(arguments(json!({"a": 1})), json!({"a": 1}));
        assert_eq!(refusal(call(json!("{"))).1, "a tool call of message 0 has arguments that are no JSON");
    }
}
