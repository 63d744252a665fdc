//! Means and percentiles.

/// The mean; not a number when there is nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Values in order, to ask for several percentiles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    /// Sorts `values`.
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The smallest value that at least `percent` of 100 values do not exceed (nearest rank); not a number when there
    /// is nothing.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        let index = rank.clamp(1, self.0.len().max(1)) - 1;
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The mean.
    pub(crate) fn mean(&self) -> f64 {
        mean(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values = Sorted::new((1..=10).rev().map(f64::from).collect());

        assert_eq!(values.percentile(0.0), 1.0);
        assert_eq!(values.percentile(50.0), 5.0);
        assert_eq!(values.percentile(90.0), 9.0);
        assert_eq!(values.percentile(91.0), 10.0);
        assert_eq!(values.percentile(100.0), 10.0);
        assert_eq!(values.mean(), 5.5);
    }

    #[test]
    fn one_value_is_every_percentile_and_nothing_is_not_a_number() {
        let one = Sorted::new(vec![3.0]);
        assert_eq!((one.percentile(1.0), one.percentile(99.0)), (3.0, 3.0));
        assert!(Sorted::default().percentile(50.0).is_nan());
        assert!(Sorted::default().mean().is_nan());
    }
}
