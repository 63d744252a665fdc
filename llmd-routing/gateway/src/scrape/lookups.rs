//! How much an engine must have stored in its cache, going by what it looked up there and did not find.

use super::text::{Sample, samples};

/// What one engine counted since it was started: vLLM's `vllm:prefix_cache_queries` and `vllm:prefix_cache_hits`, in tokens,
/// and the requests that it took in. Of several ranks behind one address, those of the lowest, whose events are followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Lookups {
    /// Tokens that were looked up and not found.
    missed: u64,
    /// Requests that were taken in, those included that were put back and taken in again.
    requests: u64,
}

impl Lookups {
    /// Reads an engine's metrics; `None` when it does not count so.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let named = |sample: &Sample<'_>| PARTS.iter().any(|&(name, _)| name == sample.name);
        let counted: Vec<_> = samples(text).filter(named).collect();
        let lowest = counted.iter().map(rank).min()?;
        let (mut missed, mut requests) = (0.0, 0.0);
        let mut looked_up = false;
        for sample in counted.iter().filter(|sample| rank(sample) == lowest && sample.value.is_finite()) {
            match PARTS.iter().find(|&&(name, _)| name == sample.name).map(|&(_, part)| part) {
                Some(Part::Queries) => (missed, looked_up) = (missed + sample.value, true),
                Some(Part::Hits) => missed -= sample.value,
                Some(Part::Requests) => requests += sample.value,
                None => {}
            }
        }
        looked_up.then_some(Self { missed: missed.max(0.0) as u64, requests: requests.max(0.0) as u64 })
    }

    /// How many blocks the engine must have stored since `before`, at least: what a request did not find, but for a rest
    /// that fills no block. None, when the engine was started anew meanwhile.
    pub(crate) fn stored_since(self, before: Self, block_size: u32) -> u64 {
        let block_size = u64::from(block_size);
        let requests = self.requests.saturating_sub(before.requests);
        let missed = self.missed.saturating_sub(before.missed);
        missed.saturating_sub(requests.saturating_mul(block_size)).checked_div(block_size).unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Hits,
    Queries,
    Requests,
}

const PARTS: [(&str, Part); 5] = [
    ("vllm:num_preemptions_total", Part::Requests),
    ("vllm:num_requests_running", Part::Requests),
    ("vllm:prefix_cache_hits_total", Part::Hits),
    ("vllm:prefix_cache_queries_total", Part::Queries),
    ("vllm:request_success_total", Part::Requests),
];

fn rank(sample: &Sample<'_>) -> u32 {
    sample.label("engine").and_then(|rank| rank.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_vllm_is_read() {
        let lookups = Lookups::read(include_str!("../../tests/fixtures/vllm-0.32/metrics.txt"));
        assert_eq!(lookups, Some(Lookups { missed: 2405 - 608, requests: 16 }));
    }

    #[test]
    fn the_lowest_rank_counts() {
        let text = "vllm:prefix_cache_queries_total{engine=\"3\"} 50\nvllm:prefix_cache_queries_total{engine=\"2\"} 7\n\
                    vllm:num_requests_running{engine=\"2\"} 1\nvllm:num_requests_running{engine=\"3\"} 4\n";
        assert_eq!(Lookups::read(text), Some(Lookups { missed: 7, requests: 1 }));
        assert_eq!(Lookups::read("sglang:num_queue_reqs 3\nvllm:num_requests_running 2\n"), None);
    }

    #[test]
    fn rests_that_fill_no_block_are_not_counted() {
        let at = |missed, requests| Lookups { missed, requests };
        assert_eq!(at(1000, 12).stored_since(at(0, 10), 16), (1000 - 32) / 16);
        assert_eq!(at(1030, 14).stored_since(at(1000, 12), 16), 0, "two requests with a rest of 15 each");
        assert_eq!(at(10, 1).stored_since(at(1000, 12), 16), 0, "started anew");
        assert_eq!(at(1000, 0).stored_since(at(0, 0), 0), 0, "it does not say how large a block is");
    }
}
