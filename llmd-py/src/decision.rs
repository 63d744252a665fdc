//! Where a request goes, and the place that is held for it there.

use std::collections::BTreeMap;
use std::sync::Arc;

use llmd_core::ErrorKind;
use llmd_routing::Usage;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::clock;
use crate::endpoint::Endpoint;
use crate::error::exception;
use crate::explanation::Explanation;
use crate::headers::{HeaderChanges, by_name};
use crate::occupancy::Occupancy;
use crate::pool::Members;
use crate::stages::{self, NextStep, StageRoute, Told};
use crate::whole::{Whole, named};

/// Where a request goes. The request counts as in flight there until this is released.
///
/// Use it in a `with` statement, for as long as the request runs: leaving it releases the place, as the end of a response or,
/// with an exception, as a request that was given up. So does `end`, which can say what the request took, `release`, and
/// dropping the object.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Decision {
    /// Taken out only when this drops. Locked for a moment at a time, and never while Python code could run.
    held: Mutex<Held>,
    members: Arc<Members>,
    occupancy: Arc<Occupancy>,
}

#[derive(Debug)]
struct Held {
    decision: Option<llmd_routing::Decision>,
    released: bool,
}

impl Decision {
    pub(crate) fn new(decision: llmd_routing::Decision, members: Arc<Members>, occupancy: Arc<Occupancy>) -> Self {
        Self { held: Mutex::new(Held { decision: Some(decision), released: false }), members, occupancy }
    }

    /// Looks at the decision, released or not.
    fn look<R>(&self, look: impl FnOnce(&llmd_routing::Decision) -> R) -> PyResult<R> {
        let _inside = self.occupancy.enter_or_refuse("scheduler")?;
        let held = self.held.lock();
        Ok(look(held.decision.as_ref().expect("it is taken out only when this drops")))
    }

    /// Moves the request on.
    fn act<R>(&self, act: impl FnOnce(&mut llmd_routing::Decision) -> R) -> PyResult<R> {
        self.change(false, act)?.ok_or_else(over)
    }

    /// Ends the request, and says whether it had not ended before.
    fn finish(&self, finish: impl FnOnce(&mut llmd_routing::Decision)) -> PyResult<bool> {
        self.change(true, finish).map(|finished| finished.is_some())
    }

    /// Changes what has not been released yet, and releases it where that is what the change is about.
    fn change<R>(&self, releases: bool, change: impl FnOnce(&mut llmd_routing::Decision) -> R) -> PyResult<Option<R>> {
        let _inside = self.occupancy.enter_or_refuse("scheduler")?;
        let mut held = self.held.lock();
        if held.released {
            return Ok(None);
        }
        held.released = releases;
        Ok(held.decision.as_mut().map(change))
    }
}

fn over() -> PyErr {
    exception(ErrorKind::Stale, "the decision was released before".to_owned())
}

/// What a request took, as far as the engine says so.
fn usage(prompt: Option<Whole>, cached: Option<Whole>, output: Option<Whole>) -> PyResult<Usage> {
    let mut usage = Usage::default();
    usage.prompt_tokens = named(prompt, "prompt_tokens")?;
    usage.cached_tokens = named(cached, "cached_tokens")?;
    usage.completion_tokens = named(output, "output_tokens")?;
    Ok(usage)
}

#[pymethods]
impl Decision {
    /// Where the request goes now: one of the objects that were given to `decide`.
    #[getter]
    fn endpoint(&self, py: Python<'_>) -> PyResult<Py<Endpoint>> {
        let endpoint = self.look(|decision| Arc::clone(decision.endpoint()))?;
        Ok(self.members.object(py, &endpoint))
    }

    /// Its address: `host:port`.
    #[getter]
    fn address(&self) -> PyResult<String> {
        self.look(|decision| decision.endpoint().address().to_owned())
    }

    /// Headers to add to the response.
    #[getter]
    fn headers(&self) -> PyResult<BTreeMap<String, String>> {
        self.look(|decision| by_name(&decision.headers()))
    }

    /// Changes to the headers of the request that goes to the endpoints: where its other stages are done, and for which
    /// rank it is.
    #[getter]
    fn request_headers(&self) -> PyResult<HeaderChanges> {
        self.look(|decision| decision.request_headers().into())
    }

    /// The data-parallel rank that the request is for; None when the engine there has one, or chooses itself.
    #[getter]
    fn rank(&self) -> PyResult<Option<u32>> {
        self.look(llmd_routing::Decision::rank)
    }

    /// The stages that have an endpoint of their own, in the order in which they are done. The last is the decode, which
    /// answers.
    #[getter]
    fn stages(&self, py: Python<'_>) -> PyResult<Vec<StageRoute>> {
        let told: Vec<_> = self.look(|decision| decision.stages().iter().map(Told::from).collect())?;
        Ok(told.into_iter().map(|told| StageRoute::new(py, told, &self.members)).collect())
    }

    /// Where a stage (`"encode"`, `"prefill"` or `"decode"`) goes; None when it has no endpoint of its own.
    ///
    /// Raises `InvalidError` for another name.
    fn stage(&self, py: Python<'_>, stage: &str) -> PyResult<Option<StageRoute>> {
        let stage = stages::named(stage)?;
        let told = self.look(|decision| decision.stage(stage).as_ref().map(Told::from))?;
        Ok(told.map(|told| StageRoute::new(py, told, &self.members)))
    }

    /// Stages that were wanted, and for which nobody was left: the endpoint of the next one does them as well.
    #[getter]
    fn skipped(&self) -> PyResult<Vec<String>> {
        self.look(|decision| decision.skipped().iter().map(ToString::to_string).collect())
    }

    /// What the configured plugins said about the request under this name, such as `agent-identity`; None when nobody did.
    fn attribute(&self, name: &str) -> PyResult<Option<String>> {
        self.look(|decision| decision.attribute(name).map(str::to_owned))
    }

    /// How many tokens of the prompt the endpoint is expected to take from its cache; 0 when no plugin looks at caches.
    #[getter]
    fn predicted_hit_tokens(&self) -> PyResult<usize> {
        self.look(llmd_routing::Decision::predicted_hit_tokens)
    }

    /// Every candidate, best first: those that the picker picked, then the others by score. Those that were tried stay.
    #[getter]
    fn ranked(&self, py: Python<'_>) -> PyResult<Vec<Py<Endpoint>>> {
        let ranked: Vec<_> = self.look(|decision| decision.ranked().cloned().collect())?;
        Ok(ranked.iter().map(|endpoint| self.members.object(py, endpoint)).collect())
    }

    /// Whether the place was given back.
    #[getter]
    fn released(&self) -> PyResult<bool> {
        let _inside = self.occupancy.enter_or_refuse("scheduler")?;
        Ok(self.held.lock().released)
    }

    /// The endpoint failed before its first byte: the place moves to the next ranked one, which is returned. None when all
    /// were tried; the place then stays where it is.
    ///
    /// Raises `StaleError` after the release.
    fn advance(&self, py: Python<'_>) -> PyResult<Option<Py<Endpoint>>> {
        let now = clock::now();
        let next = self.act(|decision| decision.advance(now).cloned())?;
        Ok(next.map(|endpoint| self.members.object(py, &endpoint)))
    }

    /// The endpoint of a stage failed at it: says how the request goes on, and holds a place there. An endpoint that does not
    /// fit those of the other stages is passed over.
    ///
    /// Raises `StaleError` after the release, and `InvalidError` for what is no stage.
    fn stage_failed(&self, py: Python<'_>, stage: &str) -> PyResult<NextStep> {
        let (stage, now) = (stages::named(stage)?, clock::now());
        let step = self.act(|decision| decision.stage_failed(stage, now))?;
        Ok(NextStep::new(py, &step, &self.members))
    }

    /// A stage before the decode is done: gives its place back.
    ///
    /// Raises `StaleError` after the release, and `InvalidError` for what is no stage.
    fn stage_done(&self, stage: &str) -> PyResult<()> {
        let stage = stages::named(stage)?;
        self.act(|decision| decision.stage_done(stage))
    }

    /// Counts the request in, where the configuration says that it counts from when it is sent; else it does already.
    ///
    /// Raises `StaleError` after the release.
    fn sent(&self) -> PyResult<()> {
        let now = clock::now();
        self.act(|decision| decision.sent(now))
    }

    /// The request goes on: its place lapses as long after now as after a decision.
    ///
    /// Raises `StaleError` after the release.
    fn renew(&self) -> PyResult<()> {
        let now = clock::now();
        self.act(|decision| decision.renew(now))
    }

    /// The first token came back: the prompt has been computed, and its tokens are in flight no more. Later ones are not
    /// heard.
    ///
    /// Raises `StaleError` after the release.
    fn first_token(&self) -> PyResult<()> {
        let now = clock::now();
        self.act(|decision| decision.first_token(now))
    }

    /// The response is complete, and took this many tokens, where the engine says so: of the prompt, of the prompt from the
    /// cache, of output. Releases the place.
    ///
    /// Raises `StaleError` when it was released before, and `InvalidError` for numbers out of range, named.
    #[pyo3(signature = (*, prompt_tokens=None, cached_tokens=None, output_tokens=None))]
    fn end(
        &self,
        prompt_tokens: Option<Whole>,
        cached_tokens: Option<Whole>,
        output_tokens: Option<Whole>,
    ) -> PyResult<()> {
        let (now, usage) = (clock::now(), usage(prompt_tokens, cached_tokens, output_tokens)?);
        if self.finish(|decision| decision.end(now, &usage))? { Ok(()) } else { Err(over()) }
    }

    /// What plugins report of a complete response that took this many tokens: values by name, by namespace, as Envoy's
    /// dynamic metadata has them. Can be asked after the release, too.
    ///
    /// Raises `InvalidError` for numbers out of range, named.
    #[pyo3(signature = (*, prompt_tokens=None, cached_tokens=None, output_tokens=None))]
    fn report(
        &self,
        prompt_tokens: Option<Whole>,
        cached_tokens: Option<Whole>,
        output_tokens: Option<Whole>,
    ) -> PyResult<BTreeMap<String, BTreeMap<String, i64>>> {
        let usage = usage(prompt_tokens, cached_tokens, output_tokens)?;
        let mut report: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for reported in self.look(|decision| decision.report(&usage))? {
            report.entry(reported.namespace).or_default().insert(reported.name, reported.value);
        }
        Ok(report)
    }

    /// The request is given up: gives the place back. Does nothing when it was given back before.
    fn release(&self) -> PyResult<()> {
        self.finish(llmd_routing::Decision::abort).map(drop)
    }

    /// Why this endpoint. Can be asked after the release, too.
    fn explain(&self) -> PyResult<Explanation> {
        self.look(llmd_routing::Decision::explain).map(Explanation)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        kind: Option<Bound<'_, PyType>>,
        _value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let now = clock::now();
        let finished = match kind {
            None => self.finish(|decision| decision.end(now, &Usage::default())),
            Some(_) => self.finish(llmd_routing::Decision::abort),
        };
        finished.map(drop)
    }

    fn __repr__(&self) -> PyResult<String> {
        let released = if self.released()? { ", released" } else { "" };
        Ok(format!("Decision({:?}{released})", self.look(|decision| decision.endpoint().name().to_owned())?))
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        let decision = self.held.get_mut().decision.take();
        match self.occupancy.enter() {
            Some(_inside) => drop(decision),
            // A forked child, whose parent had a thread inside: giving the place back could wait for that thread for ever.
            // What is leaked is the child's copy of a count that is the parent's.
            None => std::mem::forget(decision),
        }
    }
}
