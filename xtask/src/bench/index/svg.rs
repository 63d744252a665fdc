//! The grid as a picture: what a query takes, by the blocks of the prompt, one panel for each number of workers.

use std::collections::BTreeSet;

use super::rows::{Row, Rows};
use crate::bench::svg::{Scale, Svg};

/// Colours that can be read on white and on black alike, picked by what the reader's own setting is.
const STYLE: &str = "\
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.ground { fill: #ffffff }
.grid { stroke: #d0d7de; stroke-width: 1; fill: none }
.line { fill: none; stroke-width: 1.5 }
.llmd { stroke: #1f883d; stroke-width: 2.5 } .smg { stroke: #bc4c00 } .dynamo { stroke: #0969da }
.first { stroke-dasharray: none } .second { stroke-dasharray: 6 3 } .third { stroke-dasharray: 2 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .ground { fill: #0d1117 } .grid { stroke: #30363d }
  .llmd { stroke: #3fb950 } .smg { stroke: #f0883e } .dynamo { stroke: #58a6ff }
}
</style>";

/// Each way of asking an index: as rows name it, as readers do, and how its line looks.
const LINES: [(&str, &str, &str); 6] = [
    ("llmd", "llmd", "llmd first"),
    ("smg_score_into", "SMG ChainIndex, score_into", "smg first"),
    ("smg_find_matches", "SMG ChainIndex, find_matches", "smg second"),
    ("dynamo_crtc", "Dynamo CRTC", "dynamo first"),
    ("dynamo_radix", "Dynamo RadixTree", "dynamo second"),
    ("dynamo_positional", "Dynamo Positional", "dynamo third"),
];

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 940.0;
const GAP: f64 = 18.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 380.0;
const HEIGHT: f64 = 470.0;

/// An SVG document whose last line says `caption`; `None` when no cell was measured.
pub(super) fn picture(rows: &Rows, caption: &str) -> Option<String> {
    let cells: Vec<_> = rows.of("grid").collect();
    let workers: BTreeSet<_> = cells.iter().map(|row| row.cell().1).collect();
    let means = || cells.iter().map(|row| row.number("mean_us"));
    let across = Scale::over(cells.iter().map(|row| row.cell().0 as f64), 2.0)?;
    let up = Scale::over(means(), 10.0)?;

    let mut svg = Svg::default();
    svg.line(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">"
    ));
    svg.line("<title>Microseconds for a query, by blocks of the prompt and workers in the index</title>");
    svg.line(STYLE);
    svg.line(format!("<rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>"));
    svg.text(24.0, 32.0, "title", "start", "Who holds this prompt?");
    svg.text(
        24.0,
        52.0,
        "small",
        "start",
        "microseconds for a query with hashes given, mean of the thread's own time; both axes are logarithmic",
    );
    let pitch = (RIGHT - LEFT + GAP) / workers.len() as f64;
    for (n, &workers) in workers.iter().enumerate() {
        let left = LEFT + pitch * n as f64;
        let panel = Panel { left, right: left + pitch - GAP, across: &across, up: &up };
        let rows = cells.iter().copied().filter(|row| row.cell().1 == workers);
        panel.draw(&mut svg, n == 0, workers, &rows.collect::<Vec<_>>());
    }
    legend(&mut svg);
    svg.text(24.0, HEIGHT - 14.0, "small", "start", caption);
    svg.line("</svg>");
    Some(svg.into_text())
}

/// One number of workers.
#[derive(Debug)]
struct Panel<'a> {
    left: f64,
    right: f64,
    across: &'a Scale,
    up: &'a Scale,
}

impl Panel<'_> {
    fn draw(&self, svg: &mut Svg, has_labels: bool, workers: u64, rows: &[Row<'_>]) {
        let (left, right) = (self.left, self.right);
        svg.text((left + right) / 2.0, TOP - 12.0, "", "middle", &format!("{workers} workers"));
        for tick in self.up.ticks() {
            let y = self.up.place(tick, BOTTOM, TOP);
            svg.line(format!("<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"));
            if has_labels {
                svg.text(left - 8.0, y + 4.0, "small", "end", &format!("{tick} µs"));
            }
        }
        let mut blocks: Vec<_> = rows.iter().map(|row| row.cell().0).collect();
        blocks.sort_unstable();
        blocks.dedup();
        for blocks in blocks {
            let x = self.across.place(blocks as f64, left, right);
            svg.line(format!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>"));
            svg.text(x, BOTTOM + 16.0, "small", "middle", &blocks.to_string());
        }
        svg.text((left + right) / 2.0, BOTTOM + 32.0, "small", "middle", "blocks in the prompt");
        for (name, _, class) in LINES {
            let mut points: Vec<_> = rows.iter().filter(|row| row.name() == name).collect();
            points.sort_by_key(|row| row.cell());
            let places = points.iter().map(|row| {
                let x = self.across.place(row.cell().0 as f64, left, right);
                format!("{x:.1},{:.1}", self.up.place(row.number("mean_us"), BOTTOM, TOP))
            });
            let places = places.collect::<Vec<_>>().join(" ");
            if !places.is_empty() {
                svg.line(format!("<polyline class=\"line {class}\" points=\"{places}\"/>"));
            }
        }
    }
}

fn legend(svg: &mut Svg) {
    let pitch = (WIDTH - 48.0) / 3.0;
    for (n, (_, label, class)) in LINES.iter().enumerate() {
        let (x, y) = (24.0 + pitch * (n % 3) as f64, BOTTOM + 50.0 + 16.0 * (n / 3) as f64);
        svg.line(format!("<path class=\"line {class}\" d=\"M{x:.1} {:.1}h30\"/>", y - 4.0));
        svg.text(x + 38.0, y, "small", "start", label);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_index_has_a_line_in_every_panel_and_one_in_the_legend() {
        let mut rows = Rows::default();
        for (blocks, workers) in [(8, 8), (512, 8), (8, 64), (512, 64)] {
            let row = |who: &str, way: &str| json!({ "part": "grid", "blocks": blocks, "workers": workers, "who": who, "way": way, "mean_us": 0.7 });
            let ways = ["score_into", "find_matches"].map(|way| row("smg", way));
            let others = ["llmd", "dynamo_crtc", "dynamo_radix", "dynamo_positional"].map(|who| row(who, "any"));
            rows.extend(ways.into_iter().chain(others).collect());
        }

        let svg = picture(&rows, "two cores & a half").unwrap();

        assert_eq!(svg.matches("<polyline").count(), 2 * LINES.len());
        assert!(LINES.iter().all(|(_, label, _)| svg.contains(&format!(">{label}<"))));
        assert!(svg.contains("two cores &amp; a half") && !svg.contains("NaN") && !svg.contains("inf"));
        assert!(picture(&Rows::default(), "").is_none());
    }
}
