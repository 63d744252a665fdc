//! How long each way takes, by what was measured.

use crate::device::batch::Direction;

/// How bytes get across.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are three ways")]
pub enum Way {
    /// Each copy by itself, many in one call where the driver takes them.
    Batch,
    /// Packed or unpacked in the device's memory.
    Packed,
    /// As rows at constant distances.
    Rows,
}

/// How long copies take, each way.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "costs may be given")]
pub struct Costs {
    /// From the host to the device.
    pub to_device: PerDirection,
    /// From the device to the host.
    pub to_host: PerDirection,
}

impl Costs {
    /// Those of one way.
    pub const fn of(&self, direction: Direction) -> &PerDirection {
        match direction {
            Direction::ToDevice => &self.to_device,
            Direction::ToHost => &self.to_host,
        }
    }
}

/// How long copies take in one direction.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "costs may be given")]
pub struct PerDirection {
    /// What crosses the bus in one large copy.
    pub bytes_per_us: f64,
    /// What a copy of a batch takes beside its bytes: for some lengths, the shortest first. Between two of them it is what lies
    /// between, and beyond the last what the last takes.
    pub copy_us: Vec<(u64, f64)>,
    /// What a row takes beside its bytes; `None` where that is not known, and rows are not used.
    pub row_us: Option<f64>,
    /// Where the device packs.
    pub pack: Option<PackCosts>,
}

/// How long packing takes in the device's memory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "costs may be given")]
pub struct PackCosts {
    /// Whatever is packed.
    pub launch_us: f64,
    /// What is packed meanwhile.
    pub bytes_per_us: f64,
}

/// What decides how a part of a transfer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) copies: u64,
    pub(super) bytes: u64,
    /// How many cross the bus when they are packed, or `None` where that cannot be.
    pub(super) when_packed: Option<u64>,
    pub(super) are_rows: bool,
}

impl PerDirection {
    /// What so many copies of so many bytes together take.
    pub fn batch_us(&self, copies: u64, bytes: u64) -> f64 {
        let each = bytes.checked_div(copies).unwrap_or(0);
        copies as f64 * self.copy_us(each) + bytes as f64 / self.bytes_per_us
    }

    /// What a copy of this length takes beside its bytes.
    fn copy_us(&self, len: u64) -> f64 {
        let after = self.copy_us.partition_point(|(known, _)| *known < len);
        match (after.checked_sub(1).and_then(|before| self.copy_us.get(before)), self.copy_us.get(after)) {
            (None, None) => 0.0,
            (Some((_, us)), None) | (None, Some((_, us))) => *us,
            (Some((short, first)), Some((long, second))) => {
                let part = (len - short) as f64 / (long - short) as f64;
                first + (second - first) * part
            }
        }
    }

    fn packed_us(&self, part: &Part) -> Option<f64> {
        let (pack, crossing) = (self.pack?, part.when_packed?);
        Some(pack.launch_us + part.bytes as f64 / pack.bytes_per_us + self.batch_us(crossing, part.bytes))
    }

    fn rows_us(&self, part: &Part) -> Option<f64> {
        let row_us = self.row_us.filter(|_| part.are_rows)?;
        Some(part.copies as f64 * row_us + part.bytes as f64 / self.bytes_per_us)
    }

    /// The way that takes least.
    pub(super) fn way(&self, part: &Part) -> Way {
        let mut best = (Way::Batch, self.batch_us(part.copies, part.bytes));
        for (way, us) in [(Way::Packed, self.packed_us(part)), (Way::Rows, self.rows_us(part))] {
            if let Some(us) = us.filter(|us| *us < best.1) {
                best = (way, us);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    /// An H100 that loads, as vLLM's issue 42212 has it for 10,000 copies in one batch: 6.8 GB/s of 4 KiB, 7.1 of 16 KiB, 27.5
    /// of 28 KiB, 38.8 of 64 KiB.
    fn h100() -> PerDirection {
        let bytes_per_us = 52_000.0;
        let beside = |len: u64, gb_per_s: f64| (len, len as f64 / (gb_per_s * 1e3) - len as f64 / bytes_per_us);
        let copy_us = vec![beside(4 * KIB, 6.8), beside(16 * KIB, 7.1), beside(28 * KIB, 27.5), beside(64 * KIB, 38.8)];
        let pack = Some(PackCosts { launch_us: 8.0, bytes_per_us: 1_000_000.0 });
        PerDirection { bytes_per_us, copy_us, row_us: None, pack }
    }

    fn part(copies: u64, len: u64, when_packed: u64) -> Part {
        Part { copies, bytes: copies * len, when_packed: Some(when_packed), are_rows: false }
    }

    #[test]
    fn many_small_copies_are_packed_and_few_large_ones_are_not() {
        assert_eq!(h100().way(&part(10_000, 4 * KIB, 1)), Way::Packed);
        assert_eq!(h100().way(&part(10_000, 16 * KIB, 1)), Way::Packed);
        assert_eq!(h100().way(&part(2, 4 * KIB, 1)), Way::Batch);
        assert_eq!(h100().way(&part(4, 2048 * KIB, 1)), Way::Batch);
    }

    #[test]
    fn what_would_be_as_many_copies_anyway_is_not_packed() {
        assert_eq!(h100().way(&part(10_000, 4 * KIB, 10_000)), Way::Batch);
    }

    #[test]
    fn rows_are_used_where_they_are_known_to_take_less() {
        let rows = Part { are_rows: true, ..part(1000, 4 * KIB, 1000) };
        assert_eq!(h100().way(&rows), Way::Batch);
        let known = PerDirection { row_us: Some(0.01), ..h100() };
        assert_eq!(known.way(&rows), Way::Rows);
        assert_eq!(known.way(&Part { are_rows: false, ..rows }), Way::Batch);
    }

    #[test]
    fn the_model_says_what_was_measured_and_goes_between() {
        let seconds = |len: u64| h100().batch_us(10_000, 10_000 * len) / 1e6;
        let gb_per_s = |len: u64| 10_000.0 * len as f64 / seconds(len) / 1e9;
        assert!((gb_per_s(28 * KIB) - 27.5).abs() < 0.01);
        assert!((7.1..27.5).contains(&gb_per_s(22 * KIB)), "{}", gb_per_s(22 * KIB));
    }
}
