//! The figures, to look at.

use std::fmt::Write;

use llmd_kvxfer::device::Device;
use serde_json::{Map, Value};

use crate::sweep::Cell;

pub(crate) fn of(device: &dyn Device, cells: &[Cell], figures: &Map<String, Value>) -> String {
    let mut text = format!("{}: {:?}\n\n", device.id(), device.abilities());
    text += "direction     bytes   copies   llmd GB/s  batch GB/s  limit GB/s  llmd/batch  of limit  way\n";
    for cell in cells {
        // Writing to a text cannot fail.
        _ = writeln!(
            text,
            "{:<10} {:>8} {:>8} {:>11.2} {:>11.2} {:>11.2} {:>11.2} {:>8.0}%  {}",
            cell.direction_name(),
            cell.len,
            cell.count,
            cell.chosen,
            cell.batch,
            cell.limit,
            cell.chosen / cell.batch,
            cell.chosen / cell.limit * 100.0,
            cell.way
        );
    }
    if let Some(gb_per_s) = figures.get("device.ipc.to_host_gb_per_s") {
        _ = writeln!(text, "\na second process reads the same memory at {gb_per_s} GB/s");
    }
    let wrong: u64 = cells.iter().map(|cell| cell.wrong).sum();
    _ = write!(text, "\ncopies that brought other bytes: {wrong}");
    text
}
