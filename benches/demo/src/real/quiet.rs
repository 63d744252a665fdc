//! The quiet test: one request at a time, events drained between them, so that every prediction can and must be exact.

use std::time::Duration;

use llmd_core::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::adapter::Adapter;
use super::conversation::Texts;
use super::drain::drain;
use super::engine::BLOCK_SIZE;
use super::fleet::Fleet;
use super::stage::{Scene, Stage};
use crate::client::Sample;
use crate::console::Console;
use crate::policy::Policy;
use crate::quiet::QuietResult;
use crate::workload::{Draw, Job, Prompt};

/// How many requests there are.
pub(super) const REQUESTS: usize = 100;
/// Texts of this test have ids from here, far from any conversation's.
const FIRST_ID: u64 = 1 << 40;
/// Prompts begin like one of this many.
const FAMILIES: u64 = 5;
/// Prompts share at most this many pieces with others of their family.
const DEEPEST: u64 = 6;
/// Tokens of a piece: it ends within a block, and two of them at the end of one.
const PIECE: usize = 80;
/// Tokens that may follow the last piece; every third prompt is filled up to the end of a block instead.
const TAILS: [usize; 4] = [0, 7, 16, BLOCK_SIZE + 1];

/// Sends the requests one by one, by a fresh gateway that is left up, to engines that hold whatever was before.
pub(super) async fn run(
    stage: &Stage,
    fleet: &mut Fleet,
    adapters: &[Adapter],
    console: Console,
) -> Result<(QuietResult, Scene)> {
    let progress = console.progress("quiet", REQUESTS);
    let scene = stage.up(fleet, Policy::ExactPrefix, "quiet", None).await?;
    let prompts = prompts(&stage.texts, REQUESTS, adapters, stage.seed);
    let count = |which: fn(&Prompt) -> bool| prompts.iter().filter(|prompt| which(prompt)).count();
    let mut result = QuietResult {
        samples: Vec::with_capacity(REQUESTS),
        whole_blocks: count(|prompt| prompt.tokens.is_multiple_of(BLOCK_SIZE)),
        salted: count(|prompt| prompt.salt.is_some()),
        adapted: count(|prompt| prompt.adapter.is_some()),
    };
    for (n, prompt) in prompts.iter().enumerate() {
        let job = Job::new(Duration::ZERO, format!("q{}", n % 10), prompt, 1 + n % 40, Draw::Likeliest);
        result.samples.push(ask(stage, &scene, fleet, &job, format!("quiet-{n}")).await?);
        progress.step();
    }
    progress.end(&format!("{REQUESTS} requests one at a time, {} with a hit", result.hits()));
    Ok((result, scene))
}

/// Sends one request, and waits until the index knows what became of it.
pub(super) async fn ask(stage: &Stage, scene: &Scene, fleet: &mut Fleet, job: &Job, id: String) -> Result<Sample> {
    let sample = scene.client.send(job, id, Duration::ZERO).await;
    if let Some(engine) = fleet.engine(&sample.endpoint) {
        drain(&stage.http, &scene.gateway.url, engine).await?;
    }
    Ok(sample)
}

/// Prompts that share beginnings, end within and at the end of blocks, are repeated, are salted, and go to adapters.
fn prompts(texts: &Texts, requests: usize, adapters: &[Adapter], seed: u64) -> Vec<Prompt> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut prompts: Vec<Prompt> = Vec::with_capacity(requests);
    for n in 0..requests {
        if let (9, Some(last)) = (n % 10, prompts.last()) {
            prompts.push(last.clone());
            continue;
        }
        let salt = (n % 5 == 2).then(|| format!("tenant-{}", rng.random_range(0..2)));
        let adapter = (n % 5 == 3).then(|| adapters[n / 5 % adapters.len()].name.clone());
        let mut prompt = Prompt { salt, adapter, ..texts.prompt() };
        let (family, depth) = (rng.random_range(0..FAMILIES), rng.random_range(1..=DEEPEST));
        for level in 0..depth {
            texts.add(&mut prompt, FIRST_ID + family * DEEPEST + level, PIECE);
        }
        let tail = match n % 3 {
            0 => prompt.tokens.next_multiple_of(BLOCK_SIZE) - prompt.tokens,
            _ => TAILS[rng.random_range(0..TAILS.len())],
        };
        texts.add(&mut prompt, FIRST_ID + FAMILIES * DEEPEST + n as u64, tail);
        prompts.push(prompt);
    }
    prompts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real::conversation::tests::texts;

    fn adapters() -> [Adapter; 2] {
        ["lora-a=/a".parse().unwrap(), "lora-b=/b".parse().unwrap()]
    }

    #[test]
    fn every_kind_of_prompt_comes_often_enough() {
        let texts = texts();
        for seed in 0..20 {
            let prompts = prompts(&texts, REQUESTS, &adapters(), seed);
            let count = |which: &dyn Fn(&Prompt) -> bool| prompts.iter().filter(|prompt| which(prompt)).count();

            assert!(count(&|prompt| prompt.tokens.is_multiple_of(BLOCK_SIZE)) >= 20);
            assert!(count(&|prompt| !prompt.tokens.is_multiple_of(BLOCK_SIZE)) >= 20);
            assert!(count(&|prompt| prompt.salt.is_some()) >= 20);
            for adapter in adapters() {
                assert!(count(&|prompt| prompt.adapter.as_ref() == Some(&adapter.name)) >= 10);
            }
            let repeated = prompts.windows(2).filter(|two| two[0].text == two[1].text && two[0].salt == two[1].salt);
            assert!(repeated.count() >= 10);
        }
    }
}
