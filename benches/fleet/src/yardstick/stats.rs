//! Means, spreads, percentiles and intervals.

/// The mean; not a number when there is nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation of a sample; 0 for fewer than two values.
pub(super) fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// Half the width of the 95 % interval of a mean, by Student's t; not a number for fewer than two values.
pub(super) fn half_interval(values: &[f64]) -> f64 {
    /// The 97.5 % quantile for 1, 2, … degrees of freedom.
    const T: [f64; 15] =
        [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131];
    match values.len() {
        0 | 1 => f64::NAN,
        n => T.get(n - 2).copied().unwrap_or(2.0) * deviation(values) / (n as f64).sqrt(),
    }
}

/// The smallest value that at least `percent` of 100 values do not exceed, of values in ascending order; not a number when
/// there is nothing.
pub(super) fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_textbook() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&values), 5.0);
        assert!((deviation(&values) - 2.138_089_935).abs() < 1e-9);
        assert!((half_interval(&values) - 2.365 * 2.138_089_935 / 8.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!([0.0, 50.0, 90.0, 100.0].map(|percent| percentile(&values, percent)), [2.0, 4.0, 9.0, 9.0]);
    }

    #[test]
    fn one_value_spreads_nowhere_and_has_no_interval() {
        assert_eq!((mean(&[3.0]), deviation(&[3.0])), (3.0, 0.0));
        assert!(half_interval(&[3.0]).is_nan() && percentile(&[], 50.0).is_nan());
    }
}
