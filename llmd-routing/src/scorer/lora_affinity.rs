//! `lora-affinity-scorer`: an adapter is best where it is loaded, and next where there is room for it.

use serde::Deserialize;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer, UNKNOWN};
use crate::{LoraMetrics, Request};

/// 1 where a request in the batch uses the adapter, 0.8 where another adapter fits in, 0.6 where a request that waits will
/// use it, and 0 elsewhere. An endpoint that says nothing of adapters scores 0.5.
///
/// Formula: llm-d's `lora-affinity-scorer`, which adds the adapters that run and those that wait: [`Slots::Sum`]. Engines
/// name an adapter among both, and there it takes two places; here it takes one. llm-d takes an endpoint that says nothing
/// for one that is full.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoraAffinityScorer {
    slots: Slots,
}

/// How the places are counted that adapters take.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Slots {
    /// Those that run and those that wait, as in llm-d.
    Sum,
    /// Each adapter once, whether it runs, waits or both.
    #[default]
    Union,
}

/// The parameters of `lora-affinity-scorer`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    /// llmd's own.
    pub(crate) slots: Slots,
}

impl LoraAffinityScorer {
    /// A scorer that counts places so.
    pub const fn new(slots: Slots) -> Self {
        Self { slots }
    }

    fn of(self, lora: &LoraMetrics, adapter: &str) -> f64 {
        let among = |names: &[String]| names.iter().any(|name| name == adapter);
        if among(&lora.running) {
            1.0
        } else if self.slots.taken(lora) < lora.max as usize {
            0.8
        } else if among(&lora.waiting) {
            0.6
        } else {
            0.0
        }
    }
}

impl Slots {
    fn taken(self, lora: &LoraMetrics) -> usize {
        let LoraMetrics { running, waiting, .. } = lora;
        match self {
            Self::Sum => running.len() + waiting.len(),
            Self::Union => running.len() + waiting.iter().filter(|name| !running.contains(name)).count(),
        }
    }
}

/// The adapter that a request is for; without one, the model.
fn adapter(request: &Request) -> &str {
    request.namespace.lora.as_ref().map_or(&request.model, |lora| &lora.name)
}

impl Plugin for LoraAffinityScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Metrics]
    }
}

impl Scorer for LoraAffinityScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let adapter = adapter(cx.request);
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            let lora = candidate.metrics.and_then(|metrics| metrics.lora.as_ref());
            *score = lora.map_or(UNKNOWN, |lora| self.of(lora, adapter));
        }
    }

    fn input(&self, _: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        let lora = candidate.metrics?.lora.as_ref()?;
        Some(format!("{} of {} adapters", self.slots.taken(lora), lora.max))
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::hash::{Lora, Namespace};

    use super::*;
    use crate::EngineMetrics;
    use crate::testing::{pool, request, scores};

    /// Adapters that run, those that wait, how many fit, and what counting as a union and as a sum scores.
    type Case = (&'static [&'static str], &'static [&'static str], u32, [f64; 2]);

    #[test]
    fn an_adapter_is_best_where_it_runs_and_then_where_there_is_room() {
        let table: [Case; 7] = [
            (&["sql"], &[], 1, [1.0, 1.0]),
            (&["chat"], &[], 2, [0.8, 0.8]),
            (&["chat"], &["chat"], 2, [0.8, 0.0]),
            (&["chat"], &["sql"], 2, [0.6, 0.6]),
            (&["chat"], &["sql"], 3, [0.8, 0.8]),
            (&["chat"], &["code"], 2, [0.0, 0.0]),
            (&[], &[], 0, [0.0, 0.0]),
        ];
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        for (running, waiting, max, expected) in table {
            let pool = pool(2);
            let lora = Some(LoraMetrics { running: names(running), waiting: names(waiting), max });
            pool[0].set_metrics(EngineMetrics { lora, ..EngineMetrics::default() });
            for (slots, expected) in [Slots::Union, Slots::Sum].into_iter().zip(expected) {
                let said =
                    |request: &Request| scores(&LoraAffinityScorer::new(slots), request, &pool, &Attributes::default());
                let named = Request::new("r", "base").with_namespace(Namespace::default().with_lora(Lora::new("sql")));
                assert_eq!(said(&named), [expected, 0.5], "{slots:?} {running:?} {waiting:?} {max}");
                assert_eq!(said(&Request::new("r", "sql")), [expected, 0.5], "by the name of the model");
            }
        }
    }

    #[test]
    fn endpoints_that_say_nothing_of_adapters_are_neither_good_nor_bad() {
        let pool = pool(1);
        pool[0].set_metrics(EngineMetrics::default());
        assert_eq!(scores(&LoraAffinityScorer::default(), &request([]), &pool, &Attributes::default()), [0.5]);
    }
}
