//! Fragments of each size and number, in both directions.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use llmd_core::Result;
use llmd_kvxfer::device::{DeviceCopy, Direction};
use serde_json::{Map, Value, json};

use crate::rig::{Rig, now};
use crate::rounded;

const LENGTHS: [u64; 7] = [4 << 10, 8 << 10, 16 << 10, 28 << 10, 64 << 10, 256 << 10, 2 << 20];
const COUNTS: [u64; 5] = [16, 256, 4096, 32_768, 100_000];
/// Fragments of a block: as many as a model has layers. In the host they lie one behind the other.
const LAYERS: u64 = 16;
/// How often each is measured at least.
const TRIES: usize = 3;
/// And how long, if that is more often.
const SECONDS: f64 = 0.2;

/// What was measured of fragments of one size and number.
pub(crate) struct Cell {
    pub(crate) direction: Direction,
    pub(crate) len: u64,
    pub(crate) count: u64,
    /// GB/s: llmd's choice, a plain batch, one large copy.
    pub(crate) chosen: f64,
    pub(crate) batch: f64,
    pub(crate) limit: f64,
    /// Which way it was.
    pub(crate) way: &'static str,
    /// Copies that brought other bytes.
    pub(crate) wrong: u64,
}

impl Cell {
    pub(crate) const fn direction_name(&self) -> &'static str {
        match self.direction {
            Direction::ToDevice => "to_device",
            Direction::ToHost => "to_host",
        }
    }
}

pub(crate) fn run(rig: &mut Rig, is_quick: bool) -> Result<Vec<Cell>> {
    let (lengths, counts) = if is_quick { (&LENGTHS[..3], &COUNTS[..2]) } else { (&LENGTHS[..], &COUNTS[..]) };
    let shapes = Direction::ALL.iter().flat_map(|direction| {
        lengths.iter().flat_map(move |len| counts.iter().map(move |count| (*direction, *len, *count)))
    });
    let shapes: Vec<_> = shapes.filter(|(_, len, count)| 2 * len * count <= rig.len()).collect();
    let seconds = if is_quick { 0.0 } else { SECONDS };
    let progress = progress(shapes.len());
    let mut cells = Vec::with_capacity(shapes.len());
    for (direction, len, count) in shapes {
        cells.push(cell(rig, direction, len, count, seconds)?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(cells)
}

fn cell(rig: &mut Rig, direction: Direction, len: u64, count: u64, seconds: f64) -> Result<Cell> {
    let copies = fragments(len, count, rig.len());
    let bytes = (len * count) as f64;
    let wrong = rig.wrong(direction, &copies)?;
    let before = rig.counts();
    let chosen = gb_per_s(bytes, seconds, || rig.chosen(direction, &copies))?;
    let after = rig.counts();
    let ways = [
        ("batch", after.batches - before.batches),
        ("packed", after.packed - before.packed),
        ("rows", after.rows - before.rows),
    ];
    let way = ways.iter().max_by_key(|(_, parts)| *parts).map_or("", |(way, _)| *way);
    let batch = gb_per_s(bytes, seconds, || rig.batch(direction, &copies))?;
    let one = [DeviceCopy { device: 0, host: 0, len: len * count }];
    let limit = gb_per_s(bytes, seconds, || rig.batch(direction, &one))?;
    Ok(Cell { direction, len, count, chosen, batch, limit, way, wrong })
}

/// The best of some tries.
fn gb_per_s(bytes: f64, seconds: f64, mut copy: impl FnMut() -> Result<()>) -> Result<f64> {
    let (mut clock, mut best, mut tries) = (now(), f64::INFINITY, 0);
    while tries < TRIES || clock().as_secs_f64() < seconds {
        let begun = clock();
        copy()?;
        best = best.min((clock() - begun).as_secs_f64());
        tries += 1;
    }
    Ok(bytes / best / 1e9)
}

/// Blocks in no order, each of as many fragments as there are layers. The device has a layer after the other, twice as large as
/// is used; the host has a block after the other.
fn fragments(len: u64, count: u64, room: u64) -> Vec<DeviceCopy> {
    let layers = LAYERS.min(count);
    let blocks = count.div_ceil(layers);
    // At most twice as many as are used, as far as they fit: two neighbours are seldom both used.
    let there = (room / (len * layers)).min(2 * blocks).max(blocks);
    let place = |block: u64, of: u64| (block * step(of) + of / 3) % of;
    (0..count)
        .map(|at| {
            let (block, layer) = (at / layers, at % layers);
            let device = (layer * there + place(block, there)) * len;
            DeviceCopy { device, host: (place(block, blocks) * layers + layer) * len, len }
        })
        .collect()
}

/// A step that has nothing in common with `of`, so that each place comes once.
fn step(of: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (of * 5 / 8..).find(|step| *step > 0 && gcd(*step, of) == 1).unwrap_or(1)
}

pub(crate) fn put(figures: &mut Map<String, Value>, cells: &[Cell]) {
    for cell in cells {
        let name = format!("device.{}.{}x{}", cell.direction_name(), cell.len, cell.count);
        for (what, gb_per_s) in [("llmd", cell.chosen), ("batch", cell.batch), ("limit", cell.limit)] {
            figures.insert(format!("{name}.{what}_gb_per_s"), rounded(gb_per_s));
        }
        figures.insert(format!("{name}.way"), json!(cell.way));
    }
    figures.insert("device.wrong_copies".into(), json!(cells.iter().map(|cell| cell.wrong).sum::<u64>()));
}

fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("device {bar:30} {pos}/{len}, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_where_no_other_is_and_within_the_room() {
        for (len, count) in [(4096, 16), (4096, 256), (28 << 10, 4096), (100, 1000)] {
            let room = 2 * len * count.max(32);
            let copies = fragments(len, count, room);
            assert_eq!(copies.len() as u64, count);
            for side in [|copy: &DeviceCopy| copy.device, |copy: &DeviceCopy| copy.host] {
                let mut places: Vec<_> = copies.iter().map(side).collect();
                places.sort_unstable();
                assert!(places.windows(2).all(|pair| pair[0] + len <= pair[1]), "{len}x{count}");
                assert!(places[places.len() - 1] + len <= room, "{len}x{count}");
            }
        }
    }
}
