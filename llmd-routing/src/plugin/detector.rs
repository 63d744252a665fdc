//! How full endpoints are, all together.

use std::time::Duration;

use super::{Candidates, Plugin};

/// Says how full a set of endpoints is.
pub trait Detector: Plugin {
    /// 0 where there is nothing to do, and 1 and more where no more should come.
    fn saturation(&self, candidates: &Candidates<'_>, now: Duration) -> f64;
}
