//! How much is measured.

use crate::work::Point;

/// Sizes of a block that are measured.
pub(crate) const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];

/// Points and times of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Bytes of a pool.
    pub(crate) pool: usize,
    /// How often everybody has a turn.
    pub(crate) passes: usize,
    /// Seconds that the transfers of a point take at most, where three take less.
    pub(crate) seconds: f64,
    /// Seconds of doing nothing.
    pub(crate) idle: f64,
    /// Blocks of a transfer at most.
    blocks: usize,
    /// Transfers that are timed, of the three sizes.
    pulls: [usize; 3],
}

/// Bytes of a pool that is only there to be a peer's.
pub(crate) const SMALL_POOL: usize = 16 << 20;

impl Scale {
    pub(crate) const FULL: Self =
        Self { pool: 1 << 30, passes: 3, seconds: 0.6, idle: 4.0, blocks: 1024, pulls: [400, 60, 8] };

    /// To see that it runs, not to compare.
    pub(crate) const QUICK: Self =
        Self { pool: 512 << 20, passes: 2, seconds: 0.1, idle: 0.5, blocks: 256, pulls: [40, 10, 3] };

    /// Many blocks of this size.
    pub(crate) fn point(&self, size: usize) -> Point {
        let place = SIZES.iter().position(|one| *one == size).unwrap_or(SIZES.len() - 1);
        Point { size, blocks: self.blocks.min(self.pool / size), pulls: self.pulls[place] }
    }

    /// One block of 4 KiB.
    pub(crate) const fn single(&self) -> Point {
        Point { size: SIZES[0], blocks: 1, pulls: 5 * self.pulls[0] }
    }

    /// 256 MiB in blocks of 64 KiB.
    pub(crate) const fn large(&self) -> Point {
        Point { size: SIZES[1], blocks: (256 << 20) / SIZES[1], pulls: self.pulls[2] }
    }

    /// Notifications that are timed.
    pub(crate) const fn notifications(&self) -> usize {
        5 * self.pulls[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Work;

    #[test]
    fn every_point_has_room_in_its_pool() {
        for scale in [Scale::FULL, Scale::QUICK] {
            let points = SIZES.map(|size| scale.point(size)).into_iter().chain([scale.single(), scale.large()]);
            for point in points {
                assert!(Work::at(point, scale.pool).is_ok(), "{point:?}");
            }
            assert!(Work::at(scale.single(), SMALL_POOL).is_ok());
            assert!(scale.passes >= 2);
        }
        assert_eq!(Scale::FULL.point(SIZES[2]).bytes(), Scale::FULL.pool);
    }
}
