//! Prometheus' text format as Python's client writes it, which is what vLLM's scrapers have seen.

use std::fmt::Write as _;

/// A histogram with fixed bounds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    bounds: Vec<f64>,
    /// Observations up to each bound, and above the last one; not cumulative.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    pub(super) fn new(bounds: &[f64]) -> Self {
        Self { bounds: bounds.to_vec(), counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Bounds 1, 2, 5, 10, 20, 50 … up to `max`.
    pub(super) fn up_to(max: usize) -> Self {
        let mut bounds = Vec::new();
        let mut decade = 1;
        while decade <= max {
            bounds.extend(
                [1, 2, 5].map(|mantissa| mantissa * decade).iter().filter(|&&bound| bound <= max).map(|&b| b as f64),
            );
            decade *= 10;
        }
        Self::new(&bounds)
    }

    pub(super) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }
}

/// The text of a scrape in the making.
#[derive(Debug)]
pub(super) struct Exposition {
    text: String,
    /// The labels of nearly every metric, without braces: `engine="0",model_name="tiny"`.
    engine: String,
    model: String,
}

impl Exposition {
    pub(super) fn new(model: &str) -> Self {
        let model = format!("model_name=\"{}\"", escaped(model));
        Self { text: String::with_capacity(16 << 10), engine: "engine=\"0\"".into(), model }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, help, "gauge");
        self.sample(name, &format!("{},{}", self.engine, self.model), value);
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, help, "counter");
        self.sample(name, &format!("{},{}", self.engine, self.model), value as f64);
    }

    /// A family with one more label.
    pub(super) fn by(&mut self, name: &str, help: &str, kind: &str, label: &str, values: &[(&str, f64)]) {
        self.family(name, help, kind);
        for (which, value) in values {
            let labels = in_order([self.engine.clone(), self.model.clone(), format!("{label}=\"{which}\"")]);
            self.sample(name, &labels, *value);
        }
    }

    /// A counter of the front end, which no engine owns.
    pub(super) fn front_end_by(&mut self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) {
        self.family(name, help, "counter");
        for (which, value) in values {
            let labels = in_order([self.model.clone(), format!("{label}=\"{which}\"")]);
            self.sample(name, &labels, *value);
        }
    }

    /// A family whose value is in its labels.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.family(name, help, "gauge");
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        self.sample(name, &labels.join(","), value);
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, help, "histogram");
        let bounds = histogram.bounds.iter().map(|bound| number(*bound)).chain(["+Inf".to_owned()]);
        let mut total = 0;
        for (bound, count) in bounds.zip(&histogram.counts) {
            total += count;
            let labels = format!("{},le=\"{bound}\",{}", self.engine, self.model);
            self.sample(&format!("{name}_bucket"), &labels, total as f64);
        }
        let labels = format!("{},{}", self.engine, self.model);
        self.sample(&format!("{name}_count"), &labels, total as f64);
        self.sample(&format!("{name}_sum"), &labels, histogram.sum);
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        _ = writeln!(self.text, "{name}{{{labels}}} {}", number(value));
    }
}

/// Labels as Python's client writes them: in the order of their names.
fn in_order<const N: usize>(mut labels: [String; N]) -> String {
    labels.sort_unstable();
    labels.join(",")
}

/// A number as Python writes a float: always with a point.
fn number(value: f64) -> String {
    format!("{value:?}")
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
