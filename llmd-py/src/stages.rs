//! The steps in which engines serve a request, as Python sees them.

use std::sync::Arc;

use llmd_routing::plugin::Stage;
use pyo3::prelude::*;

use crate::endpoint::Endpoint;
use crate::error::invalid;
use crate::pool::Members;

/// One stage of a request, and the endpoint that does it.
#[pyclass(frozen, get_all, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct StageRoute {
    /// The stage: `"encode"`, `"prefill"` or `"decode"`.
    stage: String,
    /// The profile that chose.
    profile: String,
    /// The endpoint that does it now: one of the objects that were given to `decide`.
    endpoint: Py<Endpoint>,
    /// The data-parallel rank that it is for, where the engine has several.
    rank: Option<u32>,
    /// Every candidate, best first. Those that were tried stay.
    ranked: Vec<Py<Endpoint>>,
    /// How many seconds the stage may take, from when it is begun; None is as long as the whole request.
    deadline: Option<f64>,
}

/// How a request goes on after an endpoint failed at one of its stages.
#[pyclass(frozen, get_all, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct NextStep {
    /// `"retry"`: another endpoint does the stage. `"without"`: the endpoint of the next stage does it as well. `"fail"`: the
    /// request does not go on.
    what: &'static str,
    /// Who does the stage now; None unless it is retried.
    endpoint: Option<Py<Endpoint>>,
}

/// A stage by its name.
pub(crate) fn named(name: &str) -> PyResult<Stage> {
    let known = Stage::ALL.map(|stage| stage.to_string());
    let place = known.iter().position(|known| known == name);
    place.map(|place| Stage::ALL[place]).ok_or_else(|| {
        let [known @ .., last] = known;
        invalid(format!("stage {name:?}: expected {} or {last}", known.join(", ")))
    })
}

/// What a route says, without what it says it of.
#[derive(Debug)]
pub(crate) struct Told {
    stage: Stage,
    profile: String,
    endpoint: Arc<llmd_routing::Endpoint>,
    rank: Option<u32>,
    ranked: Vec<Arc<llmd_routing::Endpoint>>,
    deadline: Option<f64>,
}

impl From<&llmd_routing::StageRoute<'_>> for Told {
    fn from(route: &llmd_routing::StageRoute<'_>) -> Self {
        Self {
            stage: route.stage,
            profile: route.profile.to_owned(),
            endpoint: Arc::clone(route.endpoint),
            rank: route.rank,
            ranked: route.ranked.iter().map(|&endpoint| Arc::clone(endpoint)).collect(),
            deadline: route.deadline.map(|deadline| deadline.as_secs_f64()),
        }
    }
}

impl StageRoute {
    pub(crate) fn new(py: Python<'_>, told: Told, members: &Members) -> Self {
        let Told { stage, profile, endpoint, rank, ranked, deadline } = told;
        Self {
            stage: stage.to_string(),
            profile,
            endpoint: members.object(py, &endpoint),
            rank,
            ranked: ranked.iter().map(|endpoint| members.object(py, endpoint)).collect(),
            deadline,
        }
    }
}

#[pymethods]
impl StageRoute {
    fn __repr__(&self) -> String {
        format!("StageRoute({:?}, {:?})", self.stage, self.endpoint.get().inner.name())
    }
}

impl NextStep {
    pub(crate) fn new(py: Python<'_>, step: &llmd_routing::NextStep, members: &Members) -> Self {
        let (what, endpoint) = match step {
            llmd_routing::NextStep::Retry(endpoint) => ("retry", Some(members.object(py, endpoint))),
            llmd_routing::NextStep::Without => ("without", None),
            // Fail, and what is not known here.
            _ => ("fail", None),
        };
        Self { what, endpoint }
    }
}

#[pymethods]
impl NextStep {
    fn __repr__(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("NextStep({:?}, {:?})", self.what, endpoint.get().inner.name()),
            None => format!("NextStep({:?})", self.what),
        }
    }
}
