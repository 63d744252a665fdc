//! How long a request may take.

use crate::Headers;

const TTFT_HEADERS: [&str; 2] = ["x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"];
const TPOT_HEADERS: [&str; 2] = ["x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"];

/// How long a request may take, as its headers say. Milliseconds; `None` where they say nothing that is more than 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Slo {
    /// To the first token.
    pub(crate) ttft_ms: Option<f64>,
    /// Per token after it.
    pub(crate) tpot_ms: Option<f64>,
}

impl Slo {
    /// What these headers say; older names count where the newer say nothing.
    pub(crate) fn of(headers: &Headers) -> Self {
        let said = |names: [&str; 2]| {
            let text =
                names.iter().find_map(|name| headers.get(name).map(str::trim).filter(|text| !text.is_empty()))?;
            text.parse::<f64>().ok().filter(|&millis| millis > 0.0)
        };
        Self { ttft_ms: said(TTFT_HEADERS), tpot_ms: said(TPOT_HEADERS) }
    }

    /// Whether anything is said.
    pub(crate) const fn is_some(&self) -> bool {
        self.ttft_ms.is_some() || self.tpot_ms.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_how_long_a_request_may_take() {
        let table = [
            (vec![("x-llm-d-slo-ttft-ms", "250"), ("x-llm-d-slo-tpot-ms", " 12.5 ")], Some(250.0), Some(12.5)),
            (vec![("x-slo-ttft-ms", "250"), ("x-slo-tpot-ms", "12")], Some(250.0), Some(12.0)),
            (vec![("x-slo-ttft-ms", "1"), ("x-llm-d-slo-ttft-ms", "2")], Some(2.0), None),
            (vec![("x-slo-ttft-ms", "1"), ("x-llm-d-slo-ttft-ms", "")], Some(1.0), None),
            (vec![("x-llm-d-slo-ttft-ms", "soon"), ("x-llm-d-slo-tpot-ms", "0")], None, None),
            (vec![("x-llm-d-slo-ttft-ms", "-1"), ("x-llm-d-slo-tpot-ms", "NaN")], None, None),
        ];
        for (headers, ttft_ms, tpot_ms) in table {
            let slo = Slo::of(&headers.iter().copied().collect());
            assert_eq!(slo, Slo { ttft_ms, tpot_ms }, "{headers:?}");
            assert_eq!(slo.is_some(), ttft_ms.or(tpot_ms).is_some());
        }
    }
}
