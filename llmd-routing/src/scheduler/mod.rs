//! Which endpoint: producers, then profiles under one small lock, then a decision that holds its place.

mod components;
mod deadlines;
mod decision;
mod describe;
mod explain;
mod origin;
mod parts;
mod reads;
mod reserved;
mod stages;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use llmd_core::Result;
use parking_lot::Mutex;
use rand::Rng;

pub use components::Components;
use deadlines::Deadlines;
pub use decision::Decision;
pub use describe::Description;
pub use explain::{EndpointExplanation, Explanation, Fate, ProfileExplanation, Turn};
pub(crate) use origin::{Instance, Made, Origin};
pub use stages::{NextStep, StageRoute};

use crate::plugin::{Context, Refusal};
use crate::{Needs, Pool, Request};
use decision::Progress;
use parts::{Found, Parts};
use reserved::Reserved;

/// Chooses endpoints for the requests of one pool.
///
/// A decision is made in three steps: producers find out what the plugins read; profiles filter, score and pick; the
/// chosen endpoint's counters move. The last two happen under one lock, so that of two requests that arrive at once the
/// second sees the first: a burst spreads. Plugins must not call back into their scheduler.
#[derive(Debug)]
pub struct Scheduler {
    parts: ArcSwap<Parts>,
    /// Held by whoever chooses and reserves.
    turn: Arc<Mutex<Deadlines>>,
    /// Held by whoever puts other parts in the place of these.
    renewal: Mutex<()>,
}

impl Scheduler {
    /// A scheduler of these components. A producer of what nobody reads does not run.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) when there is no profile, when two have one name, or when a plugin reads from a producer that
    /// is not there.
    pub fn new(components: Components) -> Result<Self> {
        Parts::new(components).map(Self::of)
    }

    fn of(parts: Parts) -> Self {
        Self { parts: ArcSwap::from_pointee(parts), turn: Arc::default(), renewal: Mutex::new(()) }
    }

    /// A scheduler of a configuration: what was added to what it says, and what it was made with.
    pub(crate) fn configured(components: Components, added: Vec<String>, origin: Origin) -> Result<Self> {
        let parts = Parts::new(components)?;
        Ok(Self::of(Parts { added, origin, ..parts }))
    }

    /// Puts the parts of another scheduler in the place of its own: `make` gets what these were made with.
    pub(crate) fn renew(&self, make: impl FnOnce(&Origin) -> Result<Self>) -> Result<()> {
        let _renewal = self.renewal.lock();
        let made = make(&self.parts.load().origin)?;
        self.parts.store(made.parts.into_inner());
        Ok(())
    }

    /// What it must be given.
    pub fn needs(&self) -> Needs {
        self.parts.load().needs
    }

    /// What it is made of, what was added by default included.
    pub fn describe(&self) -> Description {
        Description::of(&self.parts.load())
    }

    /// How many things each plugin has dropped so far because a limit of its own was reached, by the plugin's name.
    pub fn dropped(&self) -> Vec<(String, u64)> {
        self.parts.load().plugins.iter().map(|(name, plugin)| (name.clone(), plugin.dropped())).collect()
    }

    /// Gives back the reservations whose time is over, and says how many ever were: decisions that somebody forgot. Each
    /// decision does so first; this is for a scheduler that has none to make.
    pub fn lapse(&self, now: Duration) -> u64 {
        let mut deadlines = self.turn.lock();
        deadlines.lapse(now);
        deadlines.lapsed()
    }

    /// Chooses an endpoint of `pool`, and reserves a place there.
    ///
    /// # Errors
    ///
    /// Errors that mean that the request is sent nowhere come from a [`Refusal`], which has the status for the answer:
    /// [`ErrorKind::Unavailable`](llmd_core::ErrorKind::Unavailable) when the pool is empty or screeners leave nobody; [`ErrorKind::Exhausted`](llmd_core::ErrorKind::Exhausted) when a filter, which is
    /// named, leaves nobody; [`ErrorKind::Stale`](llmd_core::ErrorKind::Stale) when the request prefers `if-available` and nothing of its prompt is cached; what an
    /// admitter says. [`ErrorKind::Internal`](llmd_core::ErrorKind::Internal) when a plugin breaks its contract.
    pub fn decide(&self, request: &Request, pool: &Pool, now: Duration, rng: &mut impl Rng) -> Result<Decision> {
        if pool.is_empty() {
            return Err(Refusal::no_endpoints(format!("no endpoint serves model {}", request.model)).into());
        }
        let parts = self.parts.load_full();
        let (attributes, mut hooks) = parts.produce(request, pool, now);
        let mut snapshot = parts.snapshot(pool);
        let screened = parts.screen(&mut Context::new(request, &attributes, now, rng), pool, &snapshot)?;
        let (places, screened) = screened.unzip();

        let mut turn = self.turn.lock();
        turn.lapse(now);
        if parts.reads_loads {
            snapshot.read_loads(pool);
        }
        let mut cx = Context::new(request, &attributes, now, rng);
        let Found { mut runs, primary, skipped } = parts.run(&mut cx, pool, &snapshot, places.as_deref())?;
        if prefers_cached(request) && parts.prefix.is_some() {
            let place = runs[primary].current().expect("the run that decides has chosen");
            if attributes.prefix_match(place).is_none_or(|found| found.blocks == 0) {
                return Err(Refusal::new(412, "nothing of the prompt is cached where it would go").into());
            }
        }
        let mut reserved = Reserved::new(Arc::clone(&self.turn), request.max_output_tokens);
        reserved.at_pick(&mut turn, &parts.in_flight, &runs, pool, &attributes, now);
        drop(turn);
        drop(cx);

        runs.iter_mut().for_each(|run| run.seed = rng.next_u64());
        hooks.extend(parts.plugins.iter().filter_map(|(_, plugin)| plugin.follow(request, &attributes)));
        let mut decision = Decision {
            parts,
            pool: pool.clone(),
            snapshot,
            attributes,
            screened: screened.unwrap_or_default(),
            runs,
            primary,
            skipped,
            reserved,
            hooks,
            progress: Progress::Sent,
        };
        decision.tell_all_picked(now);
        Ok(decision)
    }
}

/// Whether the client wants an answer only where its prompt is cached: `Prefer: if-available` (RFC 7240), as llm-d's
/// coordinator asks for a conditional decode.
fn prefers_cached(request: &Request) -> bool {
    let preferences = request.headers.get("prefer").unwrap_or_default().split(',');
    preferences.map(str::trim).any(|preference| preference.eq_ignore_ascii_case("if-available"))
}
