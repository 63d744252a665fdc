//! Tokens and rendered conversations against what Python makes of them.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fs;
use std::path::{Path, PathBuf};

use llmd_core::ErrorKind;
use llmd_gateway::tokenize::Tokenizer;
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer-0.23")
}

fn expected() -> Value {
    serde_json::from_str(&fs::read_to_string(fixtures().join("expected.json")).unwrap()).unwrap()
}

/// A folder with the fixture's tokenizer, and these files beside it.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixtures().join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(folder: &tempfile::TempDir) -> llmd_core::Result<Tokenizer> {
    Tokenizer::load(&folder.path().join("tokenizer.json"))
}

#[test]
fn prompts_become_the_tokens_that_python_makes() {
    let tokenizer = Tokenizer::load(&fixtures().join("tokenizer.json")).unwrap();
    let expected = expected();
    let completions = expected["completions"].as_array().unwrap();
    assert!(completions.len() > 5);
    for completion in completions {
        let ids = tokenizer.completion(completion["text"].as_str().unwrap()).unwrap();
        assert_eq!(json!(ids), completion["ids"], "{completion}");
    }
}

#[test]
fn conversations_become_the_text_and_the_tokens_that_python_makes() {
    let config = fs::read_to_string(fixtures().join("tokenizer_config.json")).unwrap();
    let expected = expected();
    let chats = expected["chats"].as_array().unwrap();
    assert!(chats.len() > 20);
    for chat in chats {
        let template = expected["templates"][chat["template"].as_str().unwrap()].as_str().unwrap();
        let folder = folder(&[("tokenizer_config.json", &config), ("chat_template.jinja", template)]);
        let tokenizer = load(&folder).unwrap();
        let tools = Some(&chat["tools"]).filter(|tools| !tools.is_null());
        let what = format!("{} by template {}", chat["name"], chat["template"]);
        assert_eq!(tokenizer.render(&chat["messages"], tools).unwrap(), chat["text"].as_str().unwrap(), "{what}");
        assert_eq!(json!(tokenizer.chat(&chat["messages"], tools).unwrap()), chat["ids"], "{what}");
    }
}

#[test]
fn a_template_may_stand_in_the_configuration_alone_or_by_name() {
    let conversation = json!([{"role": "user", "content": "x"}]);
    let tools = json!([]);
    let alone = folder(&[("tokenizer_config.json", r#"{"chat_template": "alone"}"#)]);
    assert_eq!(load(&alone).unwrap().render(&conversation, Some(&tools)).unwrap(), "alone");

    let named =
        r#"{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}"#;
    let named = load(&folder(&[("tokenizer_config.json", named)])).unwrap();
    assert_eq!(named.render(&conversation, None).unwrap(), "plain");
    assert_eq!(named.render(&conversation, Some(&tools)).unwrap(), "tools");
}

#[test]
fn a_template_of_its_own_counts_more_than_the_configuration() {
    let files = [("tokenizer_config.json", r#"{"chat_template": "no"}"#), ("chat_template.jinja", "yes")];
    assert_eq!(load(&folder(&files)).unwrap().render(&json!([]), None).unwrap(), "yes");
}

#[test]
fn a_model_without_a_template_says_so() {
    let tokenizer = load(&folder(&[])).unwrap();
    let error = tokenizer.chat(&json!([]), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("no chat template"), "{error}");
    assert!(!tokenizer.completion("fox").unwrap().is_empty());
}

#[test]
fn what_is_not_what_its_name_says_is_named() {
    let broken = [
        ("tokenizer.json", "{}", "tokenizer.json is no tokenizer"),
        ("tokenizer_config.json", "[", "tokenizer_config.json is no JSON object"),
        ("chat_template.jinja", "{% for %}", "chat_template.jinja has a chat template that is no Jinja"),
    ];
    for (name, text, expected) in broken {
        let error = load(&folder(&[(name, text)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    let error = Tokenizer::load(Path::new("nowhere/tokenizer.json")).unwrap_err();
    assert_eq!(error.to_string(), "nowhere/tokenizer.json is no tokenizer");
}
