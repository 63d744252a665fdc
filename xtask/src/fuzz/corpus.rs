//! What a target begins with: recorded messages, and what stands in the checkout for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Target, folder};
use crate::failure::{OrFail as _, Result};
use crate::workspace::Workspace;

/// Where recordings of engines' messages are, in JSON, as hexadecimal under keys that end so.
const RECORDINGS: [&str; 2] = ["tests/fixtures/vllm-0.32", "tests/fixtures/sglang-0.5.23"];
const HEXADECIMAL: &str = "hex";

/// Messages beyond this teach nothing that shorter ones do not.
pub(super) const MAX_LEN: usize = 4096;

/// The folders of a target: the first is written to, and has what earlier runs found worth keeping.
pub(super) fn folders(workspace: &Workspace, target: Target) -> Result<Vec<PathBuf>> {
    let corpus = made(folder(workspace).join("corpus").join(target.name()))?;
    let mut folders = vec![corpus];
    if target.reads_messages() {
        folders.push(recorded(workspace)?);
    }
    let seeds = workspace.root.join("fuzz/seeds").join(target.name());
    folders.extend(seeds.is_dir().then_some(seeds));
    Ok(folders)
}

/// The folder, which is made when it is not there.
pub(super) fn made(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).or_fail(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// A folder with one recorded message of each length.
fn recorded(workspace: &Workspace) -> Result<PathBuf> {
    let seeds = made(folder(workspace).join("seeds"))?;
    for (len, message) in messages(&workspace.root)? {
        let file = seeds.join(format!("{len}-bytes"));
        fs::write(&file, message).or_fail(|| format!("cannot write {}", file.display()))?;
    }
    Ok(seeds)
}

fn messages(root: &Path) -> Result<BTreeMap<usize, Vec<u8>>> {
    let mut messages = BTreeMap::new();
    for recordings in RECORDINGS.map(|recordings| root.join(recordings)) {
        let files = fs::read_dir(&recordings).or_fail(|| format!("cannot read {}", recordings.display()))?;
        for file in
            files.flatten().map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|end| end == "json"))
        {
            let text = fs::read_to_string(&file).or_fail(|| format!("cannot read {}", file.display()))?;
            let said = serde_json::from_str(&text).or_fail(|| format!("{} is no JSON", file.display()))?;
            collect(&said, &mut messages);
        }
    }
    Ok(messages)
}

/// Every message in a recording, one for each length.
fn collect(said: &Value, messages: &mut BTreeMap<usize, Vec<u8>>) {
    match said {
        Value::Array(items) => items.iter().for_each(|item| collect(item, messages)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| name.ends_with(HEXADECIMAL)).and_then(bytes) {
                    Some(message) if message.len() <= MAX_LEN => {
                        messages.insert(message.len(), message);
                    }
                    Some(_) => {}
                    None => collect(value, messages),
                }
            }
        }
        _ => {}
    }
}

/// The bytes that are written in hexadecimal.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    pairs.iter().map(|&[high, low]| Some(value(high)? << 4 | value(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_found_wherever_they_stand_one_of_each_length() {
        let mut messages = BTreeMap::new();
        collect(
            &json!({ "a": [{ "payload_hex": "00ff" }, { "hex": "0102" }], "hex": "c0", "x": "aa", "no_hex": "xy" }),
            &mut messages,
        );

        assert_eq!(messages.into_values().collect::<Vec<_>>(), [vec![0xc0], vec![1, 2]]);
    }

    #[test]
    fn the_recordings_have_messages() {
        let workspace = Workspace::load().unwrap();

        assert!(messages(&workspace.root).unwrap().len() > 50);
    }
}
