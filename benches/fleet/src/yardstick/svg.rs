//! Figures as a picture: for each a dot, and how far it spreads.

use std::fmt::Write as _;

/// Colours that can be read on white and on black alike, picked by what the reader's own setting is.
const STYLE: &str = "\
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.group { font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.ground { fill: #ffffff }
.grid { stroke: #d0d7de; stroke-width: 1 }
.zero { stroke: #57606a; stroke-width: 1.5 }
.good { fill: #1f883d; stroke: #1f883d } .plain { fill: #54a0d6; stroke: #54a0d6 } .bad { fill: #cf222e; stroke: #cf222e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .ground { fill: #0d1117 } .grid { stroke: #30363d } .zero { stroke: #9198a1 }
  .good { fill: #3fb950; stroke: #3fb950 } .plain { fill: #58a6ff; stroke: #58a6ff } .bad { fill: #f85149; stroke: #f85149 }
}
</style>";

const LEFT: f64 = 330.0;
const RIGHT: f64 = 850.0;
const TOP: f64 = 84.0;
const ROW: f64 = 20.0;

/// How a figure is to be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shade {
    Bad,
    Good,
    Plain,
}

/// One figure, in percent of what it is compared with.
#[derive(Clone, Debug)]
pub(super) struct Dot {
    pub(super) label: String,
    pub(super) percent: f64,
    /// How far it spreads to either side.
    pub(super) spread: f64,
    pub(super) shade: Shade,
    /// What is written at its end.
    pub(super) note: String,
}

/// Figures that belong together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) label: String,
    pub(super) dots: Vec<Dot>,
}

/// All groups as one SVG document, whose last line says `caption`.
pub(super) fn picture(title: &str, subtitle: &str, groups: &[Group], caption: &str) -> String {
    let rows: usize = groups.iter().map(|group| group.dots.len() + 1).sum();
    let bottom = TOP + rows as f64 * ROW;
    let height = bottom + 56.0;
    let mut svg = Svg::default();
    svg.line(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 {height:.0}\" width=\"960\" height=\"{height:.0}\" role=\"img\">"
    ));
    svg.line(format!("<title>{title}</title>"));
    svg.line(STYLE);
    svg.line(format!("<rect class=\"ground\" width=\"960\" height=\"{height:.0}\" rx=\"6\"/>"));
    svg.text(24.0, 32.0, "title", "start", title);
    svg.text(24.0, 52.0, "small", "start", subtitle);
    let ends = groups
        .iter()
        .flat_map(|group| &group.dots)
        .flat_map(|dot| [dot.percent - dot.spread, dot.percent + dot.spread]);
    let (low, high) = ends
        .filter(|end| end.is_finite())
        .fold((-10.0_f64, 10.0_f64), |(low, high), end| (low.min(end), high.max(end)));
    let axis = Axis::new(low, high);
    for tick in axis.ticks() {
        let x = axis.place(tick);
        let class = if tick == 0.0 { "zero" } else { "grid" };
        svg.line(format!("<path class=\"{class}\" d=\"M{x:.1} {:.1}V{bottom:.1}\"/>", TOP - 12.0));
        svg.text(x, bottom + 18.0, "small", "middle", &format!("{tick:+.0} %"));
    }
    let mut y = TOP;
    for group in groups {
        svg.text(24.0, y + 4.0, "group", "start", &group.label);
        y += ROW;
        for dot in &group.dots {
            draw(&mut svg, axis, y, dot);
            y += ROW;
        }
    }
    svg.text(24.0, height - 12.0, "small", "start", caption);
    svg.line("</svg>");
    svg.0
}

fn draw(svg: &mut Svg, axis: Axis, y: f64, dot: &Dot) {
    let class = match dot.shade {
        Shade::Bad => "bad",
        Shade::Good => "good",
        Shade::Plain => "plain",
    };
    svg.text(LEFT - 14.0, y + 4.0, "", "end", &dot.label);
    let spread = if dot.spread.is_finite() { dot.spread } else { 0.0 };
    let (from, to) = (axis.place(dot.percent - spread), axis.place(dot.percent + spread));
    svg.line(format!("<path class=\"{class}\" stroke-width=\"2\" d=\"M{from:.1} {y:.1}H{to:.1}\"/>"));
    svg.line(format!("<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>", axis.place(dot.percent)));
    svg.text(RIGHT + 14.0, y + 4.0, "small", "start", &dot.note);
}

/// A linear scale from percent to places, which 0 is on.
#[derive(Clone, Copy, Debug)]
struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    fn new(low: f64, high: f64) -> Self {
        let range = high - low;
        let power = 10_f64.powf((range / 6.0).log10().floor());
        let step = [1.0, 2.0, 5.0].map(|digit| digit * power).into_iter().find(|step| range / step <= 8.0);
        let step = step.unwrap_or(10.0 * power);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    fn place(self, percent: f64) -> f64 {
        LEFT + (percent - self.low) / (self.high - self.low) * (RIGHT - LEFT)
    }

    fn ticks(self) -> impl Iterator<Item = f64> {
        (0..=((self.high - self.low) / self.step).round() as usize).map(move |n| {
            let tick = self.low + self.step * n as f64;
            if tick.abs() < self.step / 2.0 { 0.0 } else { tick }
        })
    }
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

    #[test]
    fn an_axis_has_round_ends_and_zero() {
        let axis = Axis::new(-12.0, 52.0);
        assert_eq!(axis.ticks().collect::<Vec<_>>(), [-20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!((axis.place(-20.0), axis.place(60.0)), (LEFT, RIGHT));
    }

    #[test]
    fn every_figure_has_its_dot_and_nothing_is_not_a_number() {
        let dot =
            |percent, spread| Dot { label: "a < b".into(), percent, spread, shade: Shade::Good, note: "13,177".into() };
        let group = Group { label: "ladder".into(), dots: vec![dot(1.0, 2.0), dot(3.0, f64::NAN)] };
        let svg = picture("title", "subtitle", &[group], "caption");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt; b") && !svg.contains("NaN"));
    }
}
