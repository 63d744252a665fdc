//! The images, sounds and films of a chat.

use std::collections::HashSet;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::value::RawValue;

use super::MAX_ITEMS;
use crate::connector::body::Body;

/// What an item may be; in those before the last stands a URL.
const TYPES: [&str; 4] = ["image_url", "audio_url", "video_url", "input_audio"];

/// The items of a chat's messages, in order; of those behind the same URL, the first.
///
/// # Errors
///
/// [`ErrorKind::Exhausted`] when there are more than [`MAX_ITEMS`].
pub(super) fn of(body: &Body<'_>) -> Result<Vec<Box<RawValue>>> {
    let mut items = Vec::new();
    let mut seen = HashSet::new();
    let messages = body.get("messages").map(list).unwrap_or_default();
    let contents = messages.iter().filter_map(|message| Body::of(message)?.get("content").map(ToOwned::to_owned));
    for content in contents {
        for item in list(&content) {
            let Some(known) = read(item) else { continue };
            if known.url.is_some_and(|url| !seen.insert(url)) {
                continue;
            }
            if items.len() == MAX_ITEMS {
                let message = format!("more than {MAX_ITEMS} items to encode: expected at most that many");
                return Err(Error::new(ErrorKind::Exhausted, message));
            }
            items.push(item.to_owned());
        }
    }
    Ok(items)
}

struct Item {
    url: Option<String>,
}

/// The item that is written here. `None` when it is text, or nothing that is known.
fn read(item: &RawValue) -> Option<Item> {
    let item = Body::of(item)?;
    let said = item.text("type")?;
    let known = TYPES.into_iter().find(|known| *known == said)?;
    let url = item.object(known).and_then(|object| object.text("url")).filter(|_| known != "input_audio");
    Some(Item { url: url.filter(|url| !url.is_empty()) })
}

/// The values of a list; none when it is something else.
fn list(raw: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(messages: &str) -> Vec<String> {
        let body = format!(r#"{{"messages":{messages}}}"#);
        let body = Body::parse(body.as_bytes()).unwrap();
        of(&body).unwrap().iter().map(|item| item.get().to_owned()).collect()
    }

    #[test]
    fn an_item_is_found_wherever_it_stands_and_once() {
        let image = r#"{"type":"image_url","image_url":{"url":"http://x/1.png"}}"#;
        let again = r#"{"image_url":{"url":"http://x/1.png","detail":"low"},"type":"image_url"}"#;
        let sound = r#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}"#;
        let messages = format!(
            r#"[{{"role":"system","content":"hi"}},{{"content":[{{"type":"text","text":"a"}},{image},{sound}]}},7,{{"content":[{again},{sound},[],{{"type":"file"}}]}}]"#
        );
        assert_eq!(items(&messages), [image, sound, sound]);
        assert!(items("7").is_empty() && items("[]").is_empty());
    }

    #[test]
    fn a_request_has_a_bounded_number_of_items() {
        let item = |place| format!(r#"{{"type":"image_url","image_url":{{"url":"{place}"}}}}"#);
        let chat = |count| {
            let all: Vec<_> = (0..count).map(item).collect();
            format!(r#"{{"messages":[{{"content":[{}]}}]}}"#, all.join(","))
        };
        assert_eq!(of(&Body::parse(chat(MAX_ITEMS).as_bytes()).unwrap()).unwrap().len(), MAX_ITEMS);
        let error = of(&Body::parse(chat(MAX_ITEMS + 1).as_bytes()).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
    }
}
