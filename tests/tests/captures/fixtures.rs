//! The recordings: what is in the files, in the words of the tests.

use std::path::{Path, PathBuf};

use llmd_core::TokenId;
use llmd_core::hash::{Lora, MultimodalItem, Namespace};
use serde_json::Value;

/// One message: its payload, and what the engine's own decoder reads in it.
#[derive(Debug)]
pub(crate) struct Message {
    /// File and sequence number, for messages.
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) decoded: Value,
}

/// What was asked of an engine, and what it then said.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) requests: Vec<Request>,
    pub(crate) messages: Vec<Message>,
}

/// A request, with the tokens that came of it.
#[derive(Debug)]
pub(crate) struct Request {
    /// Prompt and output.
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) namespace: Namespace,
}

/// A file of `tests/fixtures`.
pub(crate) fn json(file: impl AsRef<Path>) -> Value {
    let path = folder().join(file);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of vLLM 0.32 whose names begin so, by name; at least one.
pub(crate) fn files(prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder().join("vllm-0.32")).expect("the fixtures are there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut files: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    assert!(!files.is_empty(), "no fixture begins with {prefix}");
    files.sort();
    files.into_iter().map(|name| format!("vllm-0.32/{name}")).collect()
}

/// Every recorded message, of captures, of offload connectors and of replays.
pub(crate) fn messages() -> Vec<Message> {
    let captured = files("capture").into_iter().flat_map(|file| {
        let capture = json(&file);
        let live: Vec<_> = scenarios(&file).into_iter().flat_map(|scenario| scenario.messages).collect();
        let replayed = array(&capture["replay"]["reply_frames"]).iter().filter_map(|frames| replayed(frames, &live));
        let replayed: Vec<_> = replayed.collect();
        live.into_iter().chain(replayed)
    });
    let offloaded = files("kvevents_").into_iter().flat_map(|file| {
        let messages = json(&file);
        array(&messages).iter().map(|said| message(&file, said)).collect::<Vec<_>>()
    });
    captured.chain(offloaded).collect()
}

/// The scenarios of a capture, in order.
pub(crate) fn scenarios(file: &str) -> Vec<Scenario> {
    let capture = json(file);
    let scenario = |said: &Value| {
        // A multimodal capture has one request per scenario, in the scenario itself.
        let requests = said["requests"].as_array().map_or_else(|| std::slice::from_ref(said), Vec::as_slice);
        Scenario {
            name: format!("{file}, {}", text(&said["scenario"])),
            requests: requests.iter().filter_map(|said| request(said, &capture["meta"]["lora"])).collect(),
            messages: array(&said["messages"]).iter().map(|said| message(file, said)).collect(),
        }
    };
    array(&capture["scenarios"]).iter().map(scenario).collect()
}

/// Adapter, images and salt, as a hash vector or a request says them.
pub(crate) fn namespace(
    lora: Option<Lora>,
    salt: &Value,
    items: impl IntoIterator<Item = MultimodalItem>,
) -> Namespace {
    let mut namespace = Namespace::default().with_multimodal(items.into_iter().collect::<Vec<_>>());
    namespace.lora = lora;
    namespace.cache_salt = salt.as_str().map(Into::into);
    namespace
}

pub(crate) fn item(identifier: &Value, place: &Value) -> MultimodalItem {
    let number = |field| number(&place[field]) as usize;
    MultimodalItem { identifier: text(identifier).into(), offset: number("offset"), len: number("length") }
}

pub(crate) fn tokens(said: &Value) -> Vec<TokenId> {
    array(said).iter().map(|token| number(token).try_into().expect("a token has 32 bits")).collect()
}

/// The values of an array; none, where there is no array.
pub(crate) fn array(said: &Value) -> &[Value] {
    said.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(said: &Value) -> &str {
    said.as_str().unwrap_or_else(|| panic!("{said} is no text"))
}

pub(crate) fn number(said: &Value) -> u64 {
    said.as_u64().unwrap_or_else(|| panic!("{said} is no number"))
}

pub(crate) fn bytes(said: &Value) -> Vec<u8> {
    hex::decode(text(said)).unwrap_or_else(|error| panic!("{said}: {error}"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn message(file: &str, said: &Value) -> Message {
    let name = format!("{file}, message {}", said["seq"]);
    Message { name, payload: bytes(&said["payload_hex"]), decoded: said["decoded"].clone() }
}

/// A replayed message: delimiter, topic, sequence number, payload. The last reply has no payload, and is none.
fn replayed(frames: &Value, live: &[Message]) -> Option<Message> {
    let (seq, payload) = (bytes(&frames[2]), bytes(&frames[3]));
    if payload.is_empty() {
        return None;
    }
    let original = live.iter().find(|message| message.payload == payload).expect("what is replayed was live once");
    let name = format!("{}, replayed as {}", original.name, hex::encode(seq));
    Some(Message { name, payload, decoded: original.decoded.clone() })
}

fn request(said: &Value, paths: &Value) -> Option<Request> {
    if said["prompt_token_ids"].is_null() {
        return None;
    }
    let params = &said["params"];
    let path = |model: &str| paths[model].as_str().map(|path| Lora::new(model).with_path(path));
    let features = &said["render_features"];
    let images = array(&features["mm_hashes"]["image"]).iter().zip(array(&features["mm_placeholders"]["image"]));
    Some(Request {
        tokens: [tokens(&said["prompt_token_ids"]), tokens(&said["output_token_ids"])].concat(),
        namespace: namespace(
            params["model"].as_str().and_then(path),
            &params["cache_salt"],
            images.map(|(identifier, place)| item(identifier, place)),
        ),
    })
}
