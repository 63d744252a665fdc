//! The race as a picture: how long requests wait, and what cache hits have to do with throughput.

use std::fmt::Write;

use crate::policy::Policy;
use crate::race::RaceResult;
use crate::report::seconds;

/// Colours that can be read on white and on black alike, picked by what the reader's own setting is.
const STYLE: &str = "\
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.ground { fill: #ffffff }
.grid { stroke: #d0d7de; stroke-width: 1 }
.leader { stroke: #8c959f; stroke-width: 1 }
.other { fill: #8c959f } .approx { fill: #54a0d6 } .exact { fill: #1f883d }
.soft { opacity: .55 } .faint { opacity: .3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .ground { fill: #0d1117 } .grid { stroke: #30363d }
  .other { fill: #8b949e } .approx { fill: #58a6ff } .exact { fill: #3fb950 }
}
</style>";

const HEIGHT: f64 = 330.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 276.0;

/// Both panels as one SVG document, whose last line says `caption`.
pub(crate) fn picture(results: &[RaceResult], caption: &str) -> String {
    let mut svg = Svg::default();
    svg.line(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 330\" width=\"960\" height=\"330\" role=\"img\">",
    );
    svg.line("<title>Time to first token, throughput and cache hits under each routing policy</title>");
    svg.line(STYLE);
    svg.line(format!("<rect class=\"ground\" width=\"960\" height=\"{HEIGHT}\" rx=\"6\"/>"));
    waiting(&mut svg, results);
    hits(&mut svg, results);
    svg.text(24.0, HEIGHT - 14.0, "small", "start", caption);
    svg.line("</svg>");
    svg.0
}

/// The left panel: a bar for each policy, up to the median, the mean and the 90th percentile.
fn waiting(svg: &mut Svg, results: &[RaceResult]) {
    let (left, right) = (130.0, 500.0);
    svg.text(24.0, 32.0, "title", "start", "Time to first token");
    svg.text(24.0, 52.0, "small", "start", "solid: to the median · soft: to the mean · faint: to the 90th percentile");
    let longest = results.iter().map(|result| result.ttft_ms.percentile(90.0)).fold(0.0, f64::max);
    let axis = Axis::new(0.0, longest / 1000.0, left, right);
    for tick in axis.ticks() {
        let x = axis.place(tick);
        svg.line(format!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>"));
        svg.text(x, BOTTOM + 18.0, "small", "middle", &format!("{} s", plain(tick)));
    }
    let pitch = (BOTTOM - TOP) / results.len().max(1) as f64;
    for (n, result) in results.iter().enumerate() {
        let (y, height) = (TOP + pitch * (n as f64 + 0.22), pitch * 0.56);
        let class = class(result.policy);
        let times = &result.ttft_ms;
        for (shade, ms) in [("faint", times.percentile(90.0)), ("soft", times.mean()), ("full", times.percentile(50.0))]
        {
            let width = (axis.place(ms / 1000.0) - left).max(0.0);
            svg.line(format!(
                "<rect class=\"{class} {shade}\" x=\"{left}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            ));
        }
        svg.text(left - 10.0, y + height / 2.0 + 4.5, "", "end", result.policy.label());
        let end = axis.place(times.percentile(90.0) / 1000.0) + 4.0;
        // Grid lines stop short of what is written.
        svg.line(format!("<rect class=\"ground\" x=\"{end:.1}\" y=\"{y:.1}\" width=\"76\" height=\"{height:.1}\"/>"));
        svg.text(end + 4.0, y + height / 2.0 + 4.0, "small", "start", &format!("mean {}", seconds(times.mean())));
    }
}

/// The right panel: a dot for each policy.
fn hits(svg: &mut Svg, results: &[RaceResult]) {
    let (left, right) = (645.0, 835.0);
    svg.text(600.0, 32.0, "title", "start", "Throughput and cache hits");
    svg.text(600.0, 52.0, "small", "start", "tokens per engine second, by the share of prompts cached");
    let most = |value: fn(&RaceResult) -> f64| results.iter().map(value).fold(0.0, f64::max);
    let across = Axis::new(0.0, most(|result| result.hit_rate * 100.0), left, right);
    let up = Axis::new(0.0, most(|result| result.throughput / 1000.0), BOTTOM, TOP);
    for tick in across.ticks() {
        let x = across.place(tick);
        svg.line(format!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>"));
        svg.text(x, BOTTOM + 18.0, "small", "middle", &format!("{} %", plain(tick)));
    }
    for tick in up.ticks() {
        let y = up.place(tick);
        svg.line(format!("<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>"));
        svg.text(left - 8.0, y + 4.0, "small", "end", &format!("{} k", plain(tick)));
    }
    let mut dots: Vec<_> = results
        .iter()
        .map(|result| (across.place(result.hit_rate * 100.0), up.place(result.throughput / 1000.0), result.policy))
        .collect();
    dots.sort_by(|a, b| a.1.total_cmp(&b.1));
    let labels = spread(&dots.iter().map(|dot| dot.1).collect::<Vec<_>>(), 17.0);
    for (&(x, y, policy), label) in dots.iter().zip(labels) {
        svg.line(format!("<path class=\"leader\" d=\"M{x:.1} {y:.1}L{:.1} {label:.1}\"/>", right + 14.0));
        svg.line(format!("<circle class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5.5\"/>", class(policy)));
        svg.text(right + 18.0, label + 4.5, "", "start", policy.label());
    }
}

/// Places for labels that stand at least `gap` apart, near `wanted`, which ascends; within the panel.
fn spread(wanted: &[f64], gap: f64) -> Vec<f64> {
    let mut places: Vec<f64> = Vec::with_capacity(wanted.len());
    for &want in wanted {
        let free = places.last().map_or(want, |last| want.max(last + gap));
        places.push(free);
    }
    let mut limit = BOTTOM;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - gap;
    }
    places
}

const fn class(policy: Policy) -> &'static str {
    match policy {
        Policy::RoundRobin | Policy::SessionHash | Policy::LeastLoad => "other",
        Policy::ApproxPrefix => "approx",
        Policy::ExactPrefix | Policy::ExactPrefixPd | Policy::ExactPrefixPdAlways => "exact",
    }
}

/// A linear scale from values to places.
#[derive(Clone, Copy, Debug)]
struct Axis {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Ends at a round number that is at least `high`.
    fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        let range = if high > low { high - low } else { 1.0 };
        let power = 10_f64.powf((range / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| range / step <= 5.0);
        let step = step.unwrap_or(10.0 * power);
        Self { low, high: low + (range / step).ceil() * step, step, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let Self { low, high, step, .. } = *self;
        (0..=((high - low) / step).round() as usize).map(move |n| low + step * n as f64)
    }
}

/// A number without digits that say nothing.
fn plain(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

#[derive(Debug, Default)]
struct Svg(String);

impl Svg {
    fn line(&mut self, text: impl AsRef<str>) {
        writeln!(self.0, "{}", text.as_ref()).expect("writing to a string does not fail");
    }

    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.line(format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::tests::result;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        let ticks = |high| Axis::new(0.0, high, 0.0, 100.0).ticks().map(plain).collect::<Vec<_>>();
        assert_eq!(ticks(18.0), ["0", "5", "10", "15", "20"]);
        assert_eq!(ticks(0.27), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(ticks(0.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(Axis::new(0.0, 18.0, 200.0, 100.0).place(10.0), 150.0);
    }

    #[test]
    fn labels_keep_their_distance_and_stay_inside() {
        assert_eq!(spread(&[100.0, 101.0, 200.0], 17.0), [100.0, 117.0, 200.0]);
        assert_eq!(spread(&[BOTTOM, BOTTOM], 17.0), [BOTTOM - 17.0, BOTTOM]);
    }

    #[test]
    fn the_picture_shows_every_policy_twice() {
        let results = Policy::ALL.map(|policy| result(policy, 40.0, &[10, 30, 100]));
        let svg = picture(&results, "4 simulated engines & one gateway");

        for policy in Policy::ALL {
            assert_eq!(svg.matches(&format!(">{}<", policy.label())).count(), 2);
        }
        assert!(svg.contains("4 simulated engines &amp; one gateway"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
