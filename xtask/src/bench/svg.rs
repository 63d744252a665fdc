//! What pictures are drawn with: a scale, and a document of lines and words.

use std::fmt::Write as _;

/// A logarithmic scale that begins and ends at powers of its base.
#[derive(Debug)]
pub(super) struct Scale {
    base: f64,
    low: i32,
    high: i32,
}

impl Scale {
    /// A scale on which all of `values` have a place; `None` when there is none that is above zero.
    pub(super) fn over(values: impl Iterator<Item = f64>, base: f64) -> Option<Self> {
        let exponents = values.filter(|value| *value > 0.0 && value.is_finite()).map(|value| value.log(base));
        let (low, high) = exponents.fold((f64::MAX, f64::MIN), |(low, high), e| (e.min(low), e.max(high)));
        // Powers of the base have rounding errors too.
        let (low, high) = ((low + 1e-9).floor(), (high - 1e-9).ceil());
        (low <= high + 1.0).then(|| Self { base, low: low as i32, high: (high as i32).max(low as i32 + 1) })
    }

    pub(super) fn place(&self, value: f64, from: f64, to: f64) -> f64 {
        let share = (value.log(self.base) - f64::from(self.low)) / f64::from(self.high - self.low);
        from + share * (to - from)
    }

    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let base = self.base;
        (self.low..=self.high).map(move |exponent| base.powi(exponent))
    }
}

/// A document that is written line by line.
#[derive(Debug, Default)]
pub(super) struct Svg(String);

impl Svg {
    pub(super) fn line(&mut self, text: impl AsRef<str>) {
        writeln!(self.0, "{}", text.as_ref()).expect("writing to a string does not fail");
    }

    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.line(format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_powers_of_its_base() {
        let scale = Scale::over([0.5, 120.0].into_iter(), 10.0).unwrap();
        assert_eq!(scale.ticks().collect::<Vec<_>>(), [0.1, 1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(scale.place(10.0, 400.0, 0.0), 200.0);
        let exact = Scale::over([8.0, 512.0].into_iter(), 2.0).unwrap();
        assert_eq!((exact.low, exact.high), (3, 9));
        assert_eq!(Scale::over([1.0].into_iter(), 10.0).unwrap().ticks().count(), 2);
        assert!(Scale::over([0.0].into_iter(), 10.0).is_none());
    }
}
