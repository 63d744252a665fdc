//! What the detectors of saturation have in common.

/// How much of a capacity is used; all of it when there is none.
pub(super) fn used(amount: f64, capacity: f64) -> f64 {
    if capacity > 0.0 { amount / capacity } else { 1.0 }
}

/// The mean of how much of each endpoint is used; a pool of nobody is full.
pub(super) fn mean(used: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = used.len();
    if count == 0 { 1.0 } else { used.sum::<f64>() / count as f64 }
}

/// How much an endpoint takes that may take so much, and this share of it on top.
pub(super) fn limit(capacity: f64, headroom: f64) -> f64 {
    capacity * (1.0 + headroom)
}
