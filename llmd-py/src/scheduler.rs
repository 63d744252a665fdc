//! Which endpoint a request goes to, by llm-d's configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use llmd_routing::EndpointPickerConfig;
use pyo3::prelude::*;

use crate::buffer::HELD_TOKENS;
use crate::chance::Chance;
use crate::clock;
use crate::decision::Decision;
use crate::error::{invalid, raise};
use crate::index::{PrefixIndex, Shared};
use crate::occupancy::Occupancy;
use crate::pool::Choice;
use crate::request::Request;
use crate::whole::{Whole, named};

/// How many endpoints can be looked at with the GIL held: some 20 µs.
const HELD_ENDPOINTS: usize = 128;

/// Chooses endpoints for the requests of one pool, by llm-d's `EndpointPickerConfig`.
///
/// May be used from any number of threads: choosing an endpoint reserves a place there in the same step, so that of two
/// requests that arrive at once the second sees the first.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Scheduler {
    inner: llmd_routing::Scheduler,
    index: Option<Arc<Shared>>,
    chance: Chance,
    occupancy: Arc<Occupancy>,
}

#[pymethods]
impl Scheduler {
    /// A scheduler of the configuration `text`, in llm-d's YAML.
    ///
    /// `index` is what `precise-prefix-cache-producer` asks; its block size must be the configuration's, where that says one.
    /// `seed` makes every random choice repeatable; without one they come from the operating system. `allow_experimental`
    /// allows plugins that are experimental in llm-d.
    ///
    /// Raises `InvalidError` for what is written wrong, with line, column and what was expected, for plugins that do not fit
    /// together, and for an index that is missing or has other blocks; `UnsupportedError` for what llm-d has and llmd has not.
    #[staticmethod]
    #[pyo3(signature = (text, *, index=None, seed=None, allow_experimental=false))]
    fn from_yaml(
        text: &str,
        index: Option<&Bound<'_, PrefixIndex>>,
        seed: Option<Whole>,
        allow_experimental: bool,
    ) -> PyResult<Self> {
        let seed = named(seed, "seed")?;
        let index = index.map(|index| Arc::clone(index.get().shared()));
        let config = read(text, index.as_deref())?;
        let mut builder = llmd_routing::Scheduler::builder(config).allow_experimental(allow_experimental);
        if let Some(index) = &index {
            builder = builder.with_index(index.reading().reader().clone());
        }
        let inner = builder.build().map_err(raise)?;
        Ok(Self { inner, index, chance: Chance::new(seed), occupancy: Arc::default() })
    }

    /// Chooses an endpoint, and reserves a place there until the decision is released.
    ///
    /// `endpoints` is a Pool, or any iterable of Endpoint.
    ///
    /// What means that the request is sent nowhere is raised with the HTTP `status` of the answer, and llm-d's `reason`:
    /// `UnavailableError` (503) when there is no endpoint, `ExhaustedError` (429) when a filter, which is named, left nobody,
    /// `StaleError` (412) when the request prefers `if-available` and nothing of its prompt is cached, and what an admitter
    /// says. `InvalidError` when two endpoints have one name, or one was made with another index than the scheduler.
    fn decide(&self, py: Python<'_>, request: &Bound<'_, Request>, endpoints: Choice) -> PyResult<Decision> {
        let (request, members) = (&request.get().0, endpoints.0);
        if let Some(stranger) = members.stranger(self.index.as_ref()) {
            let which = if self.index.is_some() { "this scheduler's" } else { "none, as this scheduler" };
            let name = stranger.inner.name();
            return Err(invalid(format!("endpoint {name:?} was made with another index, expected {which}")));
        }
        let inside = self.occupancy.enter_or_refuse("scheduler")?;
        if inside.first_since_fork {
            self.chance.part_from_parent();
        }
        let (now, mut rng) = (clock::now(), self.chance.fork());
        let mut decide = || self.inner.decide(request, &members.pool, now, &mut rng);
        let long = request.prompt_tokens() > HELD_TOKENS || members.pool.len() > HELD_ENDPOINTS;
        let decision = if long { py.detach(decide) } else { decide() }.map_err(raise)?;
        drop(inside);
        Ok(Decision::new(decision, members, Arc::clone(&self.occupancy)))
    }

    /// Puts another configuration in the place of this one, between two requests.
    ///
    /// The index stays, and so do the requests in flight and the decisions already made, which go on as they began. A plugin
    /// whose name, type and parameters are the same keeps what it remembers. What `needs` says may change.
    ///
    /// Raises what `from_yaml` raises; the old configuration then stays.
    fn reload(&self, text: &str) -> PyResult<()> {
        let config = read(text, self.index.as_deref())?;
        let _inside = self.occupancy.enter_or_refuse("scheduler")?;
        self.inner.reload(config).map_err(raise)
    }

    /// What a request and its endpoints must come with.
    #[getter]
    fn needs(&self) -> Needs {
        let needs = self.inner.needs();
        Needs {
            tokens: needs.tokens,
            body: needs.body,
            cookies: needs.cookies,
            metrics: needs.metrics,
            attributes: needs.attributes,
            events: needs.events,
            response: needs.response,
            usage: needs.usage,
        }
    }

    /// Gives back the places whose time is over, and says how many ever were: decisions that somebody forgot. Each decision
    /// does so first; this is for a scheduler that has none to make.
    fn lapse(&self) -> PyResult<u64> {
        let _inside = self.occupancy.enter_or_refuse("scheduler")?;
        Ok(self.inner.lapse(clock::now()))
    }

    /// What it is made of, what was added by default included, as text for people.
    fn describe(&self) -> String {
        self.inner.describe().to_string()
    }

    /// How many things each plugin has dropped so far because a limit of its own was reached, by the plugin's name.
    fn dropped(&self) -> PyResult<BTreeMap<String, u64>> {
        let _inside = self.occupancy.enter_or_refuse("scheduler")?;
        Ok(self.inner.dropped().into_iter().collect())
    }

    fn __repr__(&self) -> String {
        let description = self.inner.describe().to_string();
        let profiles: Vec<_> = description.lines().filter(|line| line.starts_with("profile ")).collect();
        format!("<Scheduler, {}>", profiles.join("; "))
    }
}

/// The configuration that is written in `text`, if it goes with `index`.
fn read(text: &str, index: Option<&Shared>) -> PyResult<EndpointPickerConfig> {
    let config = EndpointPickerConfig::from_yaml(text).map_err(raise)?;
    let asked = config.kv_events().and_then(|events| events.block_size);
    match (asked, index.map(|index| index.reading().block_size())) {
        (Some(asked), Some(have)) if asked != have => {
            Err(invalid(format!("blockSizeTokens is {asked}, expected {have}, the block size of the index")))
        }
        _ => Ok(config),
    }
}

/// What the configured plugins read. Give a scheduler this much and no more.
#[pyclass(frozen, get_all, eq, module = "llmd_py")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Needs {
    /// The prompt as tokens.
    tokens: bool,
    /// Anything in the body of a request besides the model's name.
    body: bool,
    /// The cookies of a request, which say who somebody is: leave the header `cookie` out else.
    cookies: bool,
    /// What engines say about themselves: `Endpoint.set_metrics`.
    metrics: bool,
    /// What others than the engines measure of endpoints: `Endpoint.set_attribute`.
    attributes: bool,
    /// KV events, in the index.
    events: bool,
    /// When the first token of a response passed: `Decision.first_token`.
    response: bool,
    /// What the engine says at the end of a response that it took: `Decision.end`.
    usage: bool,
}

#[pymethods]
impl Needs {
    fn __repr__(&self) -> String {
        let Self { tokens, body, cookies, metrics, attributes, events, response, usage } = self;
        let text = |needed: &bool| if *needed { "True" } else { "False" };
        let [tokens, body, cookies, metrics, attributes, events, response, usage] =
            [tokens, body, cookies, metrics, attributes, events, response, usage].map(text);
        format!(
            "Needs(tokens={tokens}, body={body}, cookies={cookies}, metrics={metrics}, attributes={attributes}, \
             events={events}, response={response}, usage={usage})"
        )
    }
}
