//! What users ask: conversations, each under one of some long system prompts that many share.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::Result;
use llmd_fleet::prompt::Words;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::engine::BLOCK_SIZE;
use crate::workload::{Draw, Job, Prompt};

/// System prompts.
pub(super) const SYSTEMS: u64 = 12;
/// Blocks of one system prompt.
pub(super) const SYSTEM_BLOCKS: usize = 47;
/// Questions of one conversation.
const TURNS: usize = 4;
/// Conversations that go on at one time.
const AT_ONCE: usize = 24;
/// Tokens that a question adds to a conversation, with the answer before it.
const QUESTION: std::ops::Range<usize> = 40..90;
/// Tokens of an answer.
const ANSWER: usize = 6;
/// The words that the engines' vocabulary must have.
const MIN_WORDS: usize = 50;
/// Texts of questions have ids from here.
const FIRST_QUESTION: u64 = 1 << 32;

/// Blocks of KV cache of one engine: half of the system prompts fit, and what users ask at one time. All do not.
pub(super) const CACHE_BLOCKS: usize = 336;

/// Makes texts of as many tokens as are wanted.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    words: Words,
    /// The tokens of the words: an answer is made of these, so that each of its tokens is text.
    answer: Arc<[u32]>,
}

impl Texts {
    /// Texts for the tokenizer at this path.
    ///
    /// # Errors
    ///
    /// [`Invalid`](llmd_core::ErrorKind::Invalid) when it is none, or has too few words that are one token each.
    pub(super) fn load(tokenizer: &std::path::Path) -> Result<Self> {
        let words = Words::load_at_least(tokenizer, MIN_WORDS)?;
        let answer = words.tokens().collect();
        Ok(Self { words, answer })
    }

    /// A prompt without text.
    pub(super) fn prompt(&self) -> Prompt {
        Prompt { answer: Arc::clone(&self.answer), ..Prompt::default() }
    }

    /// Adds the text of this id, always the same, to a prompt.
    pub(super) fn add(&self, prompt: &mut Prompt, id: u64, tokens: usize) {
        prompt.push(&self.words.text_for(id, tokens), tokens);
    }
}

/// A conversation under way.
struct Conversation {
    number: u64,
    prompt: Prompt,
    turns: usize,
}

/// The first so many questions, in the order in which they are asked. The answers in a conversation are the demo's own, so
/// that everybody is asked the same under every policy.
pub(super) fn jobs(texts: &Texts, questions: usize, seed: u64) -> Vec<Arc<Job>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut begun = 0;
    let mut begin = |rng: &mut StdRng| {
        let mut prompt = texts.prompt();
        texts.add(&mut prompt, rng.random_range(0..SYSTEMS), SYSTEM_BLOCKS * BLOCK_SIZE);
        begun += 1;
        Conversation { number: begun, prompt, turns: 0 }
    };
    let mut going_on: Vec<Conversation> = (0..AT_ONCE).map(|_| begin(&mut rng)).collect();
    let mut ask = |question: u64| {
        let place = rng.random_range(0..AT_ONCE);
        let conversation = &mut going_on[place];
        let tokens = rng.random_range(QUESTION);
        texts.add(&mut conversation.prompt, FIRST_QUESTION + question, tokens);
        conversation.turns += 1;
        let session = format!("s{}", conversation.number);
        let job = Job::new(Duration::ZERO, session, &conversation.prompt, ANSWER, Draw::Likeliest);
        if conversation.turns == TURNS {
            going_on[place] = begin(&mut rng);
        }
        Arc::new(job)
    };
    (0..questions as u64).map(&mut ask).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::real::engine::MAX_TOKENS;
    use crate::real::load::USERS;

    /// Texts for the simulated engines' tokenizer.
    pub(in crate::real) fn texts() -> Texts {
        let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/../fleet/tokenizer/tokenizer.json");
        Texts::load(std::path::Path::new(tokenizer)).unwrap()
    }

    #[test]
    fn conversations_share_system_prompts_and_fit_the_engines() {
        let jobs = jobs(&texts(), 200, 7);
        let longest = jobs.iter().map(|job| job.prompt_tokens).max().unwrap();
        let bodies: Vec<serde_json::Value> =
            jobs.iter().map(|job| serde_json::from_slice(&job.body).unwrap()).collect();
        let systems: BTreeSet<&str> = bodies.iter().map(|body| &body["prompt"].as_str().unwrap()[..400]).collect();

        assert!(longest + ANSWER <= MAX_TOKENS, "{longest}");
        assert_eq!(systems.len() as u64, SYSTEMS);
        assert!(bodies.iter().all(|body| !body["allowed_token_ids"].as_array().unwrap().is_empty()));
    }

    #[test]
    fn half_of_the_system_prompts_fit_an_engine_and_all_do_not() {
        let all = SYSTEMS as usize * SYSTEM_BLOCKS;
        assert!(all / 2 + USERS * (TURNS * QUESTION.end).div_ceil(BLOCK_SIZE) < CACHE_BLOCKS);
        assert!(CACHE_BLOCKS < all * 2 / 3);
    }

    #[test]
    fn the_same_seed_asks_the_same() {
        let texts = texts();
        let bodies = |seed| jobs(&texts, 20, seed).iter().map(|job| job.body.clone()).collect::<Vec<_>>();
        assert_eq!(bodies(7), bodies(7));
        assert_ne!(bodies(7), bodies(8));
    }
}
