//! The quiet test: one request at a time, events drained between them, so that every prediction can and must be exact.

use std::time::Duration;

use llmd_core::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::Sample;
use crate::console::Console;
use crate::fleet::BLOCK_SIZE;
use crate::index::{Blocks, EXACT, IndexReport};
use crate::policy::Policy;
use crate::stage::{Scene, Stage};
use crate::stats::mean;
use crate::trace::TOKENS_PER_ID;
use crate::wait;
use crate::workload::{Draw, Job, Prompt};

/// How long the index may take to hear of what one request did, in wall time.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// Texts of this test have ids from here, far from any trace's.
const FIRST_ID: u64 = 1 << 40;
/// Prompts begin like one of this many.
const FAMILIES: u64 = 6;
/// Prompts share at most this many pieces with others of their family.
const DEEPEST: u64 = 6;

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct QuietResult {
    pub(crate) samples: Vec<Sample>,
    /// Prompts that ended at the end of a block.
    pub(crate) whole_blocks: usize,
    /// Prompts whose cache was kept apart by a salt.
    pub(crate) salted: usize,
    /// Prompts that an adapter answered.
    pub(crate) adapted: usize,
}

/// Sends `requests` requests one by one over a fresh fleet, which is left as it is.
pub(crate) async fn run(
    stage: &Stage,
    requests: usize,
    text_for: impl Fn(u64, usize) -> String,
    console: Console,
) -> Result<(QuietResult, Scene)> {
    let progress = console.progress("quiet", requests);
    let scene = stage.up(Policy::ExactPrefix, "quiet").await?;
    let prompts = prompts(requests, stage.fleet.seed, text_for);
    let whole_blocks = prompts.iter().filter(|prompt| prompt.tokens.is_multiple_of(BLOCK_SIZE)).count();
    let salted = prompts.iter().filter(|prompt| prompt.salt.is_some()).count();
    let mut samples = Vec::with_capacity(requests);
    for (n, prompt) in (0..).zip(&prompts) {
        let job = Job::new(Duration::ZERO, format!("q{}", n % 10), prompt, 1 + n % 24, Draw::Seeded(stage.fleet.seed));
        let sample = scene.client.send(&job, format!("quiet-{n}"), stage.clock.now()).await;
        drain(stage, &scene, &sample).await?;
        samples.push(sample);
        progress.step();
    }
    let result = QuietResult { samples, whole_blocks, salted, adapted: 0 };
    progress.end(&format!("{requests} requests one at a time, {} with a hit", result.hits()));
    Ok((result, scene))
}

impl QuietResult {
    /// Tokens between prediction and report, mean over the requests; none when a request failed.
    pub(crate) fn error(&self) -> Option<f64> {
        let errors: Option<Vec<f64>> =
            self.samples.iter().map(|sample| sample.prediction_error().map(|tokens| tokens as f64)).collect();
        errors.map(|errors| mean(&errors)).filter(|error| error.is_finite())
    }

    /// Requests that found something cached.
    pub(crate) fn hits(&self) -> usize {
        self.samples.iter().filter(|sample| sample.cached.is_some_and(|tokens| tokens > 0)).count()
    }

    /// The first request that was predicted wrong or failed.
    pub(crate) fn first_wrong(&self) -> Option<&Sample> {
        self.samples.iter().find(|sample| sample.prediction_error() != Some(0))
    }
}

/// Waits until the index has applied all that the engine which answered has published.
async fn drain(stage: &Stage, scene: &Scene, sample: &Sample) -> Result<()> {
    let Some(engine) = scene.fleet.ready().find(|engine| engine.name == sample.endpoint) else { return Ok(()) };
    wait::until(DRAIN_DEADLINE, || async {
        let cache = Blocks::of_engine(&stage.http, &engine.http).await?;
        let report = IndexReport::ask(&stage.http, &scene.gateway.url).await?;
        let Some(worker) = report.worker(&engine.name) else { return Ok(false) };
        Ok(worker.state == EXACT && cache.is_known_up_to(worker.last_seq))
    })
    .await
}

/// Prompts that share beginnings, end within and at the end of blocks, are repeated, and are salted now and then.
fn prompts(requests: usize, seed: u64, text_for: impl Fn(u64, usize) -> String) -> Vec<Prompt> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut prompts: Vec<Prompt> = Vec::with_capacity(requests);
    for n in 0..requests {
        if let (9, Some(last)) = (n % 10, prompts.last()) {
            prompts.push(last.clone());
            continue;
        }
        let salt = (n % 5 == 2).then(|| format!("tenant-{}", rng.random_range(0..2)));
        let mut prompt = Prompt { salt, ..Prompt::default() };
        let (family, depth) = (rng.random_range(0..FAMILIES), rng.random_range(1..=DEEPEST));
        for level in 0..depth {
            prompt.push(&text_for(FIRST_ID + family * DEEPEST + level, TOKENS_PER_ID), TOKENS_PER_ID);
        }
        let tail = [0, 7, BLOCK_SIZE, 2 * BLOCK_SIZE + 1][rng.random_range(0..4)];
        prompt.push(&text_for(FIRST_ID + FAMILIES * DEEPEST + n as u64, tail), tail);
        prompts.push(prompt);
    }
    prompts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(id: u64, tokens: usize) -> String {
        format!(" w{id}").repeat(tokens)
    }

    #[test]
    fn the_prompts_share_beginnings_end_anywhere_and_are_salted() {
        let prompts = prompts(100, 7, words);

        assert_eq!(prompts.len(), 100);
        assert!(prompts.iter().all(|prompt| prompt.text.split_whitespace().count() == prompt.tokens));
        assert!(prompts.iter().filter(|prompt| prompt.salt.is_some()).count() >= 20);
        assert!(prompts.iter().filter(|prompt| prompt.tokens.is_multiple_of(BLOCK_SIZE)).count() >= 20);
        assert!(prompts.iter().filter(|prompt| !prompt.tokens.is_multiple_of(BLOCK_SIZE)).count() >= 20);
        let repeated = prompts.windows(2).filter(|two| two[0].text == two[1].text && two[0].salt == two[1].salt);
        assert!(repeated.count() >= 10);
    }

    #[test]
    fn the_same_seed_gives_the_same_prompts() {
        let texts = |seed| prompts(100, seed, words).into_iter().map(|prompt| prompt.text).collect::<Vec<_>>();
        assert_eq!(texts(7), texts(7));
        assert_ne!(texts(7), texts(8));
    }

    #[test]
    fn one_wrong_prediction_is_found_and_a_failure_is_no_success() {
        let samples = crate::race::tests::result(Policy::ExactPrefix, 10.0, &[1, 2]).samples;
        let mut result = QuietResult { samples, whole_blocks: 0, salted: 0, adapted: 0 };
        assert_eq!(result.error(), Some(3.0));

        result.samples[0].predicted = 45;
        assert_eq!((result.error(), result.first_wrong().unwrap().id.as_str()), (Some(1.5), "exact_prefix-1"));
        result.samples[1].cached = None;
        assert_eq!(result.error(), None);
    }
}
