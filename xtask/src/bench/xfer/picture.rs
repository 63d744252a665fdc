//! Gigabytes a second by size of block, as a picture: one panel for the same host, one for TCP.

use serde_json::{Map, Value};

use super::table::{KIB, WHO};
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
.xfer { stroke: #1f883d; stroke-width: 2.5 } .limit { stroke: #6e7781 } .nixl { stroke: #0969da } .mooncake { stroke: #bc4c00 }
.first { stroke-dasharray: none } .second { stroke-dasharray: 6 3 } .third { stroke-dasharray: 2 3 } .fourth { stroke-dasharray: 8 3 2 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .ground { fill: #0d1117 } .grid { stroke: #30363d }
  .xfer { stroke: #3fb950 } .limit { stroke: #8b949e } .nixl { stroke: #58a6ff } .mooncake { stroke: #f0883e }
}
</style>";

/// The panels, and how many of those who have a line in the table stand in each.
const PANELS: [(&str, usize); 2] = [("one host", 7), ("TCP over loopback", 4)];
const DASHES: [&str; 4] = ["first", "second", "third", "fourth"];

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 940.0;
const GAP: f64 = 24.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 380.0;
const HEIGHT: f64 = 530.0;

/// An SVG document whose last line says `caption`; `None` when no transfer was measured.
pub(super) fn picture(figures: &Map<String, Value>, caption: &str) -> Option<String> {
    let speed = |who: &str, kib: u64| figures.get(&format!("{who}.gbps.{kib}")).and_then(Value::as_f64);
    let all = WHO.iter().flat_map(|(who, _)| KIB.into_iter().filter_map(move |kib| speed(who, kib)));
    let up = Scale::over(all, 10.0)?;
    let across = Scale::over(KIB.into_iter().map(|kib| kib as f64), 2.0)?;

    let mut svg = Svg::default();
    svg.line(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">"
    ));
    svg.line("<title>Gigabytes a second of a transfer of 1,024 random blocks, by their size</title>");
    svg.line(STYLE);
    svg.line(format!("<rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>"));
    svg.text(24.0, 32.0, "title", "start", "How fast do 1,024 random blocks move?");
    let what = "gigabytes a second from post to completion, median of the best pass; both axes are logarithmic";
    svg.text(24.0, 52.0, "small", "start", what);

    let pitch = (RIGHT - LEFT + GAP) / PANELS.len() as f64;
    let mut from = 0;
    for (n, (title, count)) in PANELS.into_iter().enumerate() {
        let (left, right) = (LEFT + pitch * n as f64, LEFT + pitch * (n + 1) as f64 - GAP);
        svg.text(f64::midpoint(left, right), TOP - 12.0, "", "middle", title);
        for tick in up.ticks() {
            let y = up.place(tick, BOTTOM, TOP);
            svg.line(format!("<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"));
            if n == 0 {
                svg.text(left - 8.0, y + 4.0, "small", "end", &tick.to_string());
            }
        }
        for kib in KIB {
            let x = across.place(kib as f64, left, right);
            svg.line(format!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>"));
            svg.text(x, BOTTOM + 16.0, "small", "middle", &format!("{kib} KiB"));
        }
        let mut dashes = Dashes::default();
        for (place, (who, name)) in WHO[from..from + count].iter().enumerate() {
            let class = dashes.class(who);
            let points = KIB.into_iter().filter_map(|kib| {
                let x = across.place(kib as f64, left, right);
                speed(who, kib).map(|speed| format!("{x:.1},{:.1}", up.place(speed, BOTTOM, TOP)))
            });
            let points = points.collect::<Vec<_>>().join(" ");
            if !points.is_empty() {
                svg.line(format!("<polyline class=\"line {class}\" points=\"{points}\"/>"));
                let y = BOTTOM + 38.0 + 14.0 * place as f64;
                svg.line(format!("<path class=\"line {class}\" d=\"M{left:.1} {:.1}h30\"/>", y - 4.0));
                svg.text(left + 38.0, y, "small", "start", name);
            }
        }
        from += count;
    }
    svg.text(24.0, HEIGHT - 14.0, "small", "start", caption);
    svg.line("</svg>");
    Some(svg.into_text())
}

/// Which dashes are the next of a family's.
#[derive(Debug, Default)]
struct Dashes(Vec<String>);

impl Dashes {
    fn class(&mut self, who: &str) -> String {
        let family = who.split('.').next().unwrap_or_default();
        let before = self.0.iter().filter(|one| *one == family).count();
        self.0.push(family.to_owned());
        format!("{family} {}", DASHES[before % DASHES.len()])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everybody_has_a_line_and_a_place_in_the_legend() {
        assert_eq!(PANELS.iter().map(|(_, count)| count).sum::<usize>(), WHO.len());
        let figures =
            WHO.iter().flat_map(|(who, _)| KIB.map(|kib| (format!("{who}.gbps.{kib}"), json!(0.5 * kib as f64))));

        let svg = picture(&figures.collect(), "two cores & a half").unwrap();

        assert_eq!(svg.matches("<polyline").count(), WHO.len());
        assert!(WHO.iter().all(|(_, name)| svg.contains(&format!(">{name}<"))));
        assert!(svg.contains("two cores &amp; a half") && !svg.contains("NaN") && !svg.contains("inf"));
        assert!(picture(&Map::new(), "").is_none());
    }
}
