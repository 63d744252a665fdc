//! What the turns come to.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::job::Job;
use crate::scenario::EVENTS_PER_BATCH;

/// What each turn took, in nanoseconds a call: in Rust, in C and in Python.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<Job, Vec<[f64; 3]>>);

impl Samples {
    pub(crate) fn add(&mut self, job: Job, took: [f64; 3]) {
        self.0.entry(job).or_default().push(took);
    }

    /// Medians over the turns; what is compared is compared turn by turn.
    pub(crate) fn figures(&self) -> Value {
        let mut figures = Map::new();
        let mut put = |name: &str, value: f64| drop(figures.insert(format!("bindings.{name}"), rounded(value)));
        for (job, turns) in &self.0 {
            let job = job.name();
            let of = |figure: fn(&[f64; 3]) -> f64| median(turns.iter().map(figure).collect());
            if job == Job::Apply.name() {
                for (who, nanoseconds) in [("rust", of(|t| t[0])), ("c", of(|t| t[1])), ("py", of(|t| t[2]))] {
                    put(&format!("{who}_apply_mevents_s"), EVENTS_PER_BATCH as f64 * 1e3 / nanoseconds);
                }
                continue;
            }
            put(&format!("rust_{job}_us"), of(|t| t[0] / 1e3));
            put(&format!("c_{job}_us"), of(|t| t[1] / 1e3));
            put(&format!("py_{job}_us"), of(|t| t[2] / 1e3));
            put(&format!("c_{job}_ratio_to_rust"), of(|t| t[1] / t[0]));
            put(&format!("py_{job}_overhead_us"), of(|t| (t[2] - t[0]) / 1e3));
        }
        Value::Object(figures)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Three digits after the point.
fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_is_compared_turn_by_turn() {
        let mut samples = Samples::default();
        for (rust, slower) in [(1000.0, 1.0), (2000.0, 1.0), (4000.0, 1.0)] {
            samples.add(Job::Query, [rust, rust * 1.05 * slower, rust + 2000.0]);
        }

        let figures = samples.figures();

        assert_eq!(figures["bindings.rust_query_us"], 2.0);
        assert_eq!(figures["bindings.c_query_ratio_to_rust"], 1.05);
        assert_eq!(figures["bindings.py_query_overhead_us"], 2.0);
    }

    #[test]
    fn events_are_counted_in_millions_a_second() {
        let mut samples = Samples::default();
        samples.add(Job::Apply, [EVENTS_PER_BATCH as f64 * 1000.0; 3]);
        assert_eq!(samples.figures()["bindings.py_apply_mevents_s"], 1.0);
    }

    #[test]
    fn the_middle_of_two_is_between_them() {
        assert_eq!((median(vec![3.0, 1.0]), median(vec![5.0, 1.0, 2.0])), (2.0, 2.0));
    }
}
