//! `latency-slo-admitter`: what nobody would answer in time is not begun.

use serde::Deserialize;

use super::{TOO_MANY, refusal};
use crate::plugin::{Admitter, Candidates, Context, Data, Latency, Plugin, Refusal};
use crate::slo::Slo;

/// An endpoint whose cache is used less than this has computed too little for its predictions to be trusted.
const COLD: f64 = 0.02;

/// Refuses a request of less importance than 0 that says how long it may take, when every endpoint is predicted to take
/// longer, none is idle (`running = 0`) and none is cold (cache use below 2 %). Without predictions it refuses nothing.
///
/// Formula: llm-d's `latency-slo-admitter`. What an endpoint does not say of itself makes it neither idle nor cold; in llm-d it
/// is both then. llm-d's denials reach the client as 500, and here as 429 unless it is told otherwise.
#[derive(Clone, Debug)]
pub struct LatencySloAdmitter {
    producer: String,
    status: u16,
}

/// The parameters of `latency-slo-admitter`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) latency_prediction_info_producer_name: Option<String>,
    /// llmd's own.
    pub(crate) denial_status: u16,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { latency_prediction_info_producer_name: None, denial_status: TOO_MANY }
    }
}

impl LatencySloAdmitter {
    /// An admitter by what `producer` predicts.
    pub fn new(producer: impl Into<String>) -> Self {
        Self { producer: producer.into(), status: TOO_MANY }
    }

    /// The same, refusing with this status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

impl Plugin for LatencySloAdmitter {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Latency(self.producer.clone()), Data::Metrics]
    }

    fn settings(&self) -> String {
        format!("reads {}, refuses with {}", self.producer, self.status)
    }
}

impl Admitter for LatencySloAdmitter {
    fn admit(&self, cx: &mut Context<'_>, candidates: &Candidates<'_>) -> Result<(), Refusal> {
        if cx.request.priority >= 0 || !Slo::of(&cx.request.headers).is_some() {
            return Ok(());
        }
        let predicted = cx.attributes.latencies(&self.producer).unwrap_or_default();
        let mut any = false;
        for candidate in candidates.iter() {
            let metrics = candidate.metrics;
            let idle = metrics.and_then(|metrics| metrics.running_requests) == Some(0);
            let cold = metrics.and_then(|metrics| metrics.kv_cache_usage).is_some_and(|usage| usage < COLD);
            let latency = predicted.get(candidate.place).and_then(Option::as_ref);
            any |= latency.is_some();
            if idle || cold || latency.is_some_and(Latency::is_valid) {
                return Ok(());
            }
        }
        if !any {
            return Ok(());
        }
        let message = format!("none of {} endpoints is expected to answer in time", candidates.len());
        Err(refusal(self.status, message))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::plugin::{Attributes, Snapshot};
    use crate::testing::{Chance, metrics, pool, request};
    use crate::{EngineMetrics, Request};

    const SLO: [(&str, &str); 1] = [("x-llm-d-slo-ttft-ms", "100")];

    fn says(request: &Request, of: &[(Option<f64>, Option<EngineMetrics>)]) -> Result<(), Refusal> {
        let pool = pool(of.len() as u32);
        for (endpoint, (_, said)) in pool.iter().zip(of) {
            said.iter().for_each(|said| endpoint.set_metrics(said.clone()));
        }
        let latency = |headroom: f64| Latency { ttft_headroom_ms: headroom, ..Latency::default() };
        let mut attributes = Attributes::default();
        attributes.set_latencies(&Arc::from("p"), of.iter().map(|(headroom, _)| headroom.map(latency)).collect());
        let (snapshot, mut chance) = (Snapshot::of(&pool), Chance::new(1));
        let mut cx = Context::new(request, &attributes, Duration::ZERO, &mut chance);
        LatencySloAdmitter::new("p").admit(&mut cx, &Candidates::new(&pool, &snapshot))
    }

    #[test]
    fn what_nobody_would_answer_in_time_is_refused_when_it_may_be() {
        let (busy, late, in_time) = (|| Some(metrics(0, 3, 0.5)), Some(-1.0), Some(0.0));
        let sheddable = request([]).with_headers(SLO.into_iter().collect()).with_priority(-1);
        let important = sheddable.clone().with_priority(0);
        let patient = request([]).with_priority(-1);
        let table = [
            (&sheddable, vec![(late, busy()), (late, busy())], false),
            (&important, vec![(late, busy())], true),
            (&patient, vec![(late, busy())], true),
            (&sheddable, vec![(late, busy()), (in_time, busy())], true),
            // Idle, and cold.
            (&sheddable, vec![(late, busy()), (late, Some(metrics(9, 0, 0.5)))], true),
            (&sheddable, vec![(late, busy()), (late, Some(metrics(9, 3, 0.019)))], true),
            // Nobody predicts; one does, and the other is not known to be idle or cold.
            (&sheddable, vec![(None, busy()), (None, busy())], true),
            (&sheddable, vec![(late, busy()), (None, None)], false),
        ];
        for (request, of, admitted) in table {
            assert_eq!(says(request, &of).is_ok(), admitted, "{of:?}");
        }
    }

    #[test]
    fn a_refusal_has_the_status_that_was_asked_for() {
        let sheddable = request([]).with_headers(SLO.into_iter().collect()).with_priority(-1);
        let refused = says(&sheddable, &[(Some(-1.0), Some(metrics(0, 3, 0.5)))]).unwrap_err();
        assert_eq!((refused.status, refused.reason), (429, Some("rejected-saturated")));
        assert_eq!(refused.message, "none of 1 endpoints is expected to answer in time");
        assert_eq!((refusal(500, "no").status, refusal(500, "no").reason), (500, None));
    }
}
