//! The fleet's tokenizer, made from nothing: a made-up language, and a byte-level BPE trained on it.
//!
//! The language has 2,000 words of two or three syllables, used as often as words of natural languages are (Zipf). A BPE
//! of 4,096 tokens learns nearly all of them whole, so that text can be written whose number of tokens is known.

use llmd_core::{Error, ErrorKind, Result};
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerBuilder,
};

use crate::splitmix::SplitMix64;

const SEED: u64 = 0x6c6c_6d64;
const WORDS: usize = 2_000;
const SENTENCES: usize = 20_000;
const VOCABULARY: usize = 4_096;
const ONSETS: [&str; 20] =
    ["b", "br", "d", "dr", "f", "g", "gl", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "w", "z"];
const NUCLEI: [&str; 8] = ["a", "e", "i", "o", "u", "ai", "ea", "ou"];
const CODAS: [&str; 8] = ["", "", "", "l", "n", "r", "s", "t"];

const END_OF_TEXT: &str = "<|endoftext|>";
const TURN_BEGINS: &str = "<|im_start|>";
const TURN_ENDS: &str = "<|im_end|>";

const CHAT_TEMPLATE: &str = "\
{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// The words of the language, each once.
fn words() -> Vec<String> {
    let mut numbers = SplitMix64::new(SEED);
    let mut words = Vec::with_capacity(WORDS);
    while words.len() < WORDS {
        let word: String = (0..2 + numbers.below(2)).map(|_| syllable(&mut numbers)).collect();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

fn syllable(numbers: &mut SplitMix64) -> String {
    let mut part = |parts: &[&'static str]| parts[numbers.below(parts.len())];
    [part(&ONSETS), part(&NUCLEI), part(&CODAS)].concat()
}

/// Sentences in the language: the word of rank r is used in proportion to 1 / (r + 30).
fn sentences() -> impl Iterator<Item = String> + Send {
    let words = words();
    let mut shares: Vec<f64> = Vec::with_capacity(words.len());
    for rank in 0..words.len() {
        shares.push(shares.last().copied().unwrap_or(0.0) + 1.0 / (rank as f64 + 30.0));
    }
    let mut numbers = SplitMix64::new(SEED + 1);
    (0..SENTENCES).map(move |_| {
        let mut sentence = String::new();
        for _ in 0..8 + numbers.below(16) {
            let share = numbers.unit() * shares.last().expect("the language has words");
            sentence.push(' ');
            sentence.push_str(&words[shares.partition_point(|&above| above <= share)]);
        }
        sentence.push_str([".", ",", "?", "!\n"][numbers.below(4)]);
        sentence
    })
}

/// The text of `tokenizer.json`: trained now, and the same every time.
///
/// # Errors
///
/// [`ErrorKind::Internal`] when the trainer fails.
pub fn tokenizer_json() -> Result<String> {
    let special = [END_OF_TEXT, TURN_BEGINS, TURN_ENDS].map(|token| AddedToken::from(token, true));
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(VOCABULARY)
        .special_tokens(special.to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut tokenizer =
        TokenizerBuilder::<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>::new()
            .with_model(BPE::default())
            .with_pre_tokenizer(Some(ByteLevel::new(false, true, true).into()))
            .with_decoder(Some(ByteLevel::default().into()))
            .build()
            .map_err(failed)?;
    tokenizer.train(&mut trainer, sentences()).map_err(failed)?;
    tokenizer.to_string(true).map(|json| json + "\n").map_err(failed)
}

fn failed(error: tokenizers::Error) -> Error {
    Error::new(ErrorKind::Internal, "the tokenizer could not be trained").with_source(error)
}

/// The text of `tokenizer_config.json`: special tokens and the chat template.
pub fn config_json() -> String {
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": null,
        "eos_token": TURN_ENDS,
        "pad_token": END_OF_TEXT,
        "additional_special_tokens": [TURN_BEGINS, TURN_ENDS],
        "clean_up_tokenization_spaces": false,
        "model_max_length": 131_072,
        "chat_template": CHAT_TEMPLATE,
    });
    format!("{config:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_tokenizer_is_what_the_script_makes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tokenizer");
        let committed = |name| std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
        let made = tokenizer_json().unwrap();
        assert!(committed("tokenizer.json") == made, "run `cargo run -p llmd-fleet --bin make-tokenizer`");
        let parsed = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(parsed(&committed("tokenizer_config.json")), parsed(&config_json()));
    }
}
