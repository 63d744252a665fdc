//! Engines that serve, users who ask them, and taps that hear what they really say.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::index::{IndexSettings, WorkerState};
use llmd_core::{Error, ErrorKind, Result};
use llmd_fleet::process::{EngineProcess, Ready};

use crate::clock::Clock;
use crate::follower::{Source, Sources};
use crate::load::Load;
use crate::sample::{Prompts, Sampler};
use crate::truth::{Tap, Verdict, own_list};

/// Tokens of a block.
pub(crate) const BLOCK_SIZE: usize = 16;
/// Blocks of an engine's cache: less than its users talk about.
const BLOCKS: usize = 1_024;
/// How much faster than the wall clock the engines run.
const SPEED: f64 = 8.0;
/// Users of each engine.
const USERS: usize = 2;
/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(2);

/// What every scenario runs with.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) clock: Clock,
    pub(crate) binary: PathBuf,
    pub(crate) engines: usize,
    /// How often an engine is killed, and the router.
    pub(crate) rounds: usize,
    /// How long batches are lost.
    pub(crate) losing: Duration,
    pub(crate) seed: u64,
}

impl Plan {
    /// What an index of these engines is made with.
    pub(crate) fn index(&self) -> IndexSettings {
        IndexSettings::default().with_block_size(BLOCK_SIZE)
    }
}

/// Engines that serve, users who ask them, and taps that hear what they really say. Dropped, all end.
#[derive(Debug)]
pub(crate) struct Stage {
    engines: Vec<EngineProcess>,
    pub(crate) taps: Vec<Tap>,
    pub(crate) sampler: Sampler,
    load: Option<Load>,
}

impl Stage {
    /// Starts the engines, and opens the taps.
    ///
    /// # Errors
    ///
    /// When an engine does not come up.
    pub(crate) async fn set(plan: &Plan) -> Result<Self> {
        let mut engines = Vec::new();
        for n in 0..plan.engines {
            let (binary, args) = (plan.binary.clone(), args(n, plan.seed));
            engines.push(blocking(move || EngineProcess::spawn(binary, args)).await?);
        }
        let taps: Vec<_> =
            engines.iter().map(|engine| Tap::open(&engine.ready().kv_events, &engine.ready().replay)).collect();
        let prompts = Arc::<Prompts>::default();
        let sampler = Sampler::new(plan.clock, Arc::clone(&prompts), plan.seed);
        let urls: Vec<_> = engines.iter().map(|engine| engine.ready().http.clone()).collect();
        let load = Load::begin(&urls, USERS, &prompts, plan.seed);
        Ok(Self { engines, taps, sampler, load: Some(load) })
    }

    /// What engine `n` printed when it came up.
    pub(crate) fn ready(&self, n: usize) -> &Ready {
        self.engines[n].ready()
    }

    /// Where the engines speak.
    pub(crate) fn sources(&self) -> Sources {
        let source = |engine: &EngineProcess| {
            let Ready { name, kv_events, replay, .. } = engine.ready();
            Source { name: name.clone(), events: kv_events.clone(), replay: replay.clone() }
        };
        self.engines.iter().map(source).collect()
    }

    /// Kills engine `n` under load, and starts it again a moment later on the same ports.
    ///
    /// # Errors
    ///
    /// When it does not come up again.
    pub(crate) async fn restart(&mut self, n: usize, away: Duration) -> Result<()> {
        self.engines[n].kill();
        tokio::time::sleep(away).await;
        self.taps[n].next_life();
        let mut engine = self.engines.remove(n);
        let (engine, restarted) = blocking(move || {
            let restarted = engine.restart();
            Ok((engine, restarted))
        })
        .await?;
        self.engines.insert(n, engine);
        restarted
    }

    /// Waits until each engine has published so many batches, and the index is exact about each.
    ///
    /// # Errors
    ///
    /// When that does not happen in time.
    pub(crate) async fn warm_up(&self, batches: usize) -> Result<()> {
        let is_warm = |n: usize, tap: &Tap| {
            let is_exact =
                self.sampler.last(n).is_some_and(|last| last.state == WorkerState::Exact && last.stamp.is_some());
            is_exact && tap.batches() >= batches
        };
        let all = || self.taps.iter().enumerate().all(|(n, tap)| is_warm(n, tap));
        until("an index that is exact about every engine", async || Ok(all())).await
    }

    /// Sends the users home, waits until the index has everything that the engines said, compares, and says how much was
    /// wrong.
    ///
    /// # Errors
    ///
    /// When the index does not come to know everything, or an engine's own list is not what its batches say.
    pub(crate) async fn judge(mut self) -> Result<Verdict> {
        self.load = None;
        let mut all = Verdict::default();
        for (n, tap) in self.taps.iter().enumerate() {
            let own = self.quiet(n, tap).await?;
            let samples = self.sampler.all();
            let verdict = tap.judge(samples.iter().filter(|sample| sample.worker == n), BLOCK_SIZE);
            if verdict.truth != Some(own) {
                let message = format!("the cache of engine {n} is not what its batches say: the comparison is void");
                return Err(Error::new(ErrorKind::Internal, message));
            }
            all.add(&verdict);
        }
        Ok(all)
    }

    /// Waits until engine `n` has nothing more to say and the index has all of it; gives what the engine's own list says.
    async fn quiet(&self, n: usize, tap: &Tap) -> Result<u64> {
        let own = parking_lot::Mutex::new(0);
        until("an index that has everything", async || {
            let Some((next, list)) = own_list(&self.ready(n).http).await? else { return Ok(false) };
            tap.fill().await?;
            *own.lock() = list;
            let newest = next.checked_sub(1).and_then(|last| tap.stamp_of(last));
            let last = self.sampler.last(n);
            Ok(last.is_some_and(|last| last.state == WorkerState::Exact && last.stamp == newest))
        })
        .await?;
        Ok(own.into_inner())
    }
}

/// Asks until the answer is yes.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it is not within [`DEADLINE`], with what was waited for.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let mut last = None;
    let asking = async {
        loop {
            match is_so().await {
                Ok(true) => return,
                Ok(false) => last = None,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout(DEADLINE, asking).await.is_ok() {
        return Ok(());
    }
    let why = last.map_or_else(String::new, |error: Error| format!(": {error}"));
    Err(Error::new(ErrorKind::Unavailable, format!("{what}: not within {} s{why}", DEADLINE.as_secs())))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorKind::Internal, "starting an engine broke off").with_source(error))?
}

fn args(n: usize, seed: u64) -> Vec<String> {
    let pairs = [
        ("--name", format!("e{n}")),
        ("--block-size", BLOCK_SIZE.to_string()),
        ("--num-gpu-blocks", BLOCKS.to_string()),
        ("--speed", SPEED.to_string()),
        ("--seed", seed.wrapping_add(n as u64).to_string()),
    ];
    pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}
