//! Gigabytes a second by size of fragment, as a picture: a panel for each direction.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

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
.llmd { stroke: #1f883d; stroke-width: 2.5 } .batch { stroke: #0969da } .limit { stroke: #6e7781; stroke-dasharray: 6 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .ground { fill: #0d1117 } .grid { stroke: #30363d }
  .llmd { stroke: #3fb950 } .batch { stroke: #58a6ff } .limit { stroke: #8b949e }
}
</style>";

const PANELS: [(&str, &str); 2] = [("to_host", "from the GPU to the host"), ("to_device", "from the host to the GPU")];
const WHO: [(&str, &str); 3] =
    [("llmd", "llmd's choice"), ("batch", "a plain batch of copies"), ("limit", "one copy of as many bytes")];

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 940.0;
const GAP: f64 = 24.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 380.0;
const HEIGHT: f64 = 486.0;

/// An SVG document whose last line says `caption`; `None` when no GPU was measured.
pub(super) fn picture(figures: &Map<String, Value>, caption: &str) -> Option<String> {
    let panels = PANELS.map(|(way, _)| most_fragments(figures, way));
    let lengths = panels.iter().flat_map(BTreeMap::keys).map(|&length| length as f64 / 1024.0);
    let across = Scale::over(lengths, 2.0)?;
    let speed = |way: &str, length: u64, count: u64, who: &str| {
        figures.get(&format!("device.{way}.{length}x{count}.{who}_gb_per_s")).and_then(Value::as_f64)
    };
    let speeds = PANELS.iter().zip(&panels).flat_map(|((way, _), cells)| {
        cells.iter().flat_map(move |(&length, &count)| WHO.map(|(who, _)| speed(way, length, count, who)))
    });
    let up = Scale::over(speeds.flatten(), 10.0)?;

    let mut svg = Svg::default();
    svg.line(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">"
    ));
    svg.line("<title>Gigabytes a second between a GPU and the host, by the size of a fragment</title>");
    svg.line(STYLE);
    svg.line(format!("<rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>"));
    svg.text(24.0, 32.0, "title", "start", "How fast does scattered KV leave a GPU, and get there?");
    let what = "gigabytes a second, the best of some tries, of as many fragments as were tried of each size; both axes are logarithmic";
    svg.text(24.0, 52.0, "small", "start", what);

    let pitch = (RIGHT - LEFT + GAP) / PANELS.len() as f64;
    for (n, ((way, title), cells)) in PANELS.iter().zip(&panels).enumerate() {
        let (left, right) = (LEFT + pitch * n as f64, LEFT + pitch * (n + 1) as f64 - GAP);
        svg.text(f64::midpoint(left, right), TOP - 12.0, "", "middle", title);
        for tick in up.ticks() {
            let y = up.place(tick, BOTTOM, TOP);
            svg.line(format!("<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"));
            if n == 0 {
                svg.text(left - 8.0, y + 4.0, "small", "end", &tick.to_string());
            }
        }
        for &length in cells.keys() {
            let x = across.place(length as f64 / 1024.0, left, right);
            svg.line(format!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>"));
            svg.text(x, BOTTOM + 16.0, "small", "middle", &format!("{} KiB", length / 1024));
        }
        for (place, (who, name)) in WHO.iter().enumerate() {
            let points = cells.iter().filter_map(|(&length, &count)| {
                let x = across.place(length as f64 / 1024.0, left, right);
                speed(way, length, count, who).map(|speed| format!("{x:.1},{:.1}", up.place(speed, BOTTOM, TOP)))
            });
            let points = points.collect::<Vec<_>>().join(" ");
            svg.line(format!("<polyline class=\"line {who}\" points=\"{points}\"/>"));
            let y = BOTTOM + 38.0 + 14.0 * place as f64;
            svg.line(format!("<path class=\"line {who}\" d=\"M{left:.1} {:.1}h30\"/>", y - 4.0));
            svg.text(left + 38.0, y, "small", "start", name);
        }
    }
    svg.text(24.0, HEIGHT - 14.0, "small", "start", caption);
    svg.line("</svg>");
    Some(svg.into_text())
}

/// Of each length of fragments that was measured, the most of them.
fn most_fragments(figures: &Map<String, Value>, way: &str) -> BTreeMap<u64, u64> {
    let mut most = BTreeMap::new();
    for name in figures.keys() {
        let cell = name.strip_prefix(&format!("device.{way}.")).and_then(|name| name.strip_suffix(".llmd_gb_per_s"));
        let cell = cell.and_then(|cell| cell.split_once('x'));
        if let Some((Ok(length), Ok(count))) = cell.map(|(length, count)| (length.parse(), count.parse::<u64>())) {
            let there = most.entry(length).or_default();
            *there = count.max(*there);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_size_is_drawn_once_with_the_most_fragments_there_are_of_it() {
        let mut figures = Map::new();
        for (way, _) in PANELS {
            for (cell, speed) in [("4096x16", 1.0), ("4096x256", 2.5), ("65536x16", 40.0)] {
                for (who, _) in WHO {
                    figures.insert(format!("device.{way}.{cell}.{who}_gb_per_s"), json!(speed));
                }
            }
        }
        assert_eq!(most_fragments(&figures, "to_host"), BTreeMap::from([(4096, 256), (65536, 16)]));

        let svg = picture(&figures, "one GPU & a half").unwrap();

        assert_eq!(svg.matches("<polyline").count(), PANELS.len() * WHO.len());
        assert!(svg.contains(">64 KiB<") && svg.contains("one GPU &amp; a half"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(picture(&Map::new(), "").is_none());
    }
}
