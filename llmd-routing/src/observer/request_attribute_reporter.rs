//! `request-attribute-reporter`: numbers that follow from what a request took, for the proxy in front.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use super::cel::Expression;
use crate::plugin::{Attributes, Data, Hooks, Plugin, Reported};
use crate::{Request, Usage};

/// Where Envoy looks for what load balancers say.
const NAMESPACE: &str = "envoy.lb";

/// Reports numbers that follow from what the engine says a request took, each where its condition holds. 0 is not reported,
/// as in llm-d, and neither is what cannot be worked out, as when a field is not there; that is counted.
///
/// Semantics: llm-d's `request-attribute-reporter`, whose expressions are CEL's. Here they are the part of it that
/// [`Expression`] has: what cannot come to a number is refused when the configuration is read. llm-d takes one attribute, and here
/// there may be several.
#[derive(Debug)]
pub struct RequestAttributeReporter(Arc<Reporter>);

#[derive(Debug)]
struct Reporter {
    attributes: Vec<ReportedAttribute>,
    failed: AtomicU64,
}

/// One number that is reported.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "llm-d's attribute, which has these four fields")]
pub struct ReportedAttribute {
    /// The namespace of its name, as Envoy's dynamic metadata has it.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub expression: Expression,
    /// When it is reported; always, when `None`.
    pub condition: Option<Expression>,
}

/// The parameters of `request-attribute-reporter`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    pub(crate) attributes: Vec<AttributeConfig>,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AttributeConfig {
    key: KeyConfig,
    pub(crate) expression: String,
    #[serde(default)]
    pub(crate) condition: String,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct KeyConfig {
    #[serde(default)]
    namespace: String,
    name: String,
}

impl AttributeConfig {
    /// What the number is called, with its namespace before it.
    pub(crate) fn key(&self) -> (String, String) {
        let KeyConfig { namespace, name } = &self.key;
        let namespace = if namespace.is_empty() { NAMESPACE } else { namespace };
        (namespace.to_owned(), name.clone())
    }
}

impl RequestAttributeReporter {
    /// A reporter of these numbers.
    pub fn new(attributes: Vec<ReportedAttribute>) -> Self {
        Self(Arc::new(Reporter { attributes, failed: AtomicU64::new(0) }))
    }
}

impl Reporter {
    fn report(&self, usage: &Usage, report: &mut Vec<Reported>) {
        for attribute in &self.attributes {
            match attribute.value(usage) {
                Ok(None | Some(0)) => {}
                Ok(Some(value)) => report.push(Reported::new(&attribute.namespace, &attribute.name, value)),
                Err(_) => _ = self.failed.fetch_add(1, Ordering::Relaxed),
            }
        }
    }
}

impl ReportedAttribute {
    /// Its value; `None` when its condition does not hold.
    fn value(&self, usage: &Usage) -> llmd_core::Result<Option<i64>> {
        match &self.condition {
            Some(condition) if !condition.condition(usage)? => Ok(None),
            _ => self.expression.number(usage).map(Some),
        }
    }
}

impl Plugin for RequestAttributeReporter {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Usage]
    }

    fn follow(&self, _: &Request, _: &Attributes) -> Option<Box<dyn Hooks>> {
        Some(Box::new(Report(Arc::clone(&self.0))))
    }

    /// Numbers that could not be worked out.
    fn dropped(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    fn settings(&self) -> String {
        let names: Vec<_> = self.0.attributes.iter().map(|it| format!("{}/{}", it.namespace, it.name)).collect();
        format!("reports {}", names.join(", "))
    }
}

#[derive(Debug)]
struct Report(Arc<Reporter>);

impl Hooks for Report {
    fn report(&self, usage: &Usage, report: &mut Vec<Reported>) {
        self.0.report(usage, report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    fn reporter(expression: &str, condition: Option<&str>) -> RequestAttributeReporter {
        let parse = |text: &str| Expression::parse(text).expect(text);
        RequestAttributeReporter::new(vec![ReportedAttribute {
            namespace: "envoy.lb".to_owned(),
            name: "cost".to_owned(),
            expression: parse(expression),
            condition: condition.map(parse),
        }])
    }

    fn reported(reporter: &RequestAttributeReporter, usage: &Usage) -> Vec<Reported> {
        let mut report = Vec::new();
        let hooks = reporter.follow(&request([]), &Attributes::default()).expect("it reports");
        hooks.report(usage, &mut report);
        report
    }

    #[test]
    fn a_number_is_reported_where_its_condition_holds() {
        let usage = Usage { prompt_tokens: Some(100), completion_tokens: Some(20), ..Usage::default() };
        let both = "has(usage.prompt_tokens) && has(usage.completion_tokens)";
        let table = [
            ("usage.prompt_tokens + usage.completion_tokens * 4.0", None, Some(180)),
            ("usage.prompt_tokens", Some(both), Some(100)),
            ("usage.prompt_tokens", Some("usage.completion_tokens > 20"), None),
            ("usage.prompt_tokens - 100", None, None),
            ("usage.prompt_tokens - 101", None, Some(-1)),
            ("usage.prompt_tokens / 8", None, Some(12)),
        ];
        for (expression, condition, expected) in table {
            let reporter = reporter(expression, condition);
            let expected: Vec<_> = expected.map(|value| Reported::new("envoy.lb", "cost", value)).into_iter().collect();
            assert_eq!((reported(&reporter, &usage), reporter.dropped()), (expected, 0), "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_worked_out_is_counted_and_not_reported() {
        let usage = Usage { prompt_tokens: Some(100), ..Usage::default() };
        for (expression, condition) in [
            ("usage.completion_tokens", None),
            ("1", Some("usage.completion_tokens > 1")),
            ("usage.prompt_tokens / 0", None),
            ("int(usage.prompt_tokens) / 0", None),
        ] {
            let reporter = reporter(expression, condition);
            assert_eq!((reported(&reporter, &usage), reporter.dropped()), (vec![], 1), "{expression}");
        }
    }
}
