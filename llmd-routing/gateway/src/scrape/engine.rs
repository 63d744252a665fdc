//! What an engine's metrics say about its load, whatever engine it is.
//!
//! Names as in llm-d's table of engines: vLLM `vllm:num_requests_waiting`, `vllm:num_requests_running`,
//! `vllm:kv_cache_usage_perc`, `vllm:cache_config_info{block_size,num_gpu_blocks}`; SGLang `sglang:num_queue_reqs`,
//! `sglang:num_running_reqs`, `sglang:token_usage`, `sglang:cache_config_info{page_size,num_pages}`. An engine is
//! recognised by the names that it uses.

use std::time::Duration;

use llmd_routing::EngineMetrics;

use super::text::{Sample, samples};

/// Reads an engine's metrics; what it does not say is `None`. Several ranks behind one address are added up: their
/// requests and blocks are summed, their cache use is averaged.
pub(crate) fn read(text: &str, updated: Duration) -> EngineMetrics {
    let mut sums = Sums::default();
    for sample in samples(text) {
        match sample.name {
            "vllm:num_requests_waiting" | "sglang:num_queue_reqs" => _ = add(&mut sums.waiting, sample.value),
            "vllm:num_requests_running" | "sglang:num_running_reqs" => _ = add(&mut sums.running, sample.value),
            "vllm:kv_cache_usage_perc" | "vllm:gpu_cache_usage_perc" | "sglang:token_usage" => {
                sums.ranks += u32::from(add(&mut sums.usage, sample.value));
            }
            "vllm:cache_config_info" => sums.cache(&sample, "block_size", "num_gpu_blocks"),
            "sglang:cache_config_info" => sums.cache(&sample, "page_size", "num_pages"),
            _ => {}
        }
    }
    let mut metrics = EngineMetrics::default();
    metrics.updated = updated;
    metrics.waiting_requests = sums.waiting.map(|count| count as u64);
    metrics.running_requests = sums.running.map(|count| count as u64);
    metrics.kv_cache_usage = sums.usage.map(|usage| (usage / f64::from(sums.ranks)).clamp(0.0, 1.0));
    metrics.block_size = sums.block_size;
    metrics.num_blocks = sums.blocks;
    metrics
}

#[derive(Default)]
struct Sums {
    waiting: Option<f64>,
    running: Option<f64>,
    usage: Option<f64>,
    ranks: u32,
    block_size: Option<u32>,
    blocks: Option<u64>,
}

impl Sums {
    fn cache(&mut self, sample: &Sample<'_>, size: &str, count: &str) {
        self.block_size = self.block_size.or_else(|| sample.label(size)?.parse().ok());
        if let Some(blocks) = sample.label(count).and_then(|count| count.parse::<u64>().ok()) {
            self.blocks = Some(self.blocks.unwrap_or(0).saturating_add(blocks));
        }
    }
}

/// Adds a count or a share, and says whether it was one: a NaN, or less than nothing, says nothing.
fn add(sum: &mut Option<f64>, value: f64) -> bool {
    let valid = value.is_finite() && value >= 0.0;
    if valid {
        *sum = Some(sum.unwrap_or(0.0) + value);
    }
    valid
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(7);

    #[test]
    fn a_real_vllm_is_read() {
        let metrics = read(include_str!("../../tests/fixtures/vllm-0.32/metrics.txt"), NOW);

        assert_eq!(metrics.updated, NOW);
        assert_eq!((metrics.waiting_requests, metrics.running_requests), (Some(0), Some(0)));
        assert_eq!(metrics.kv_cache_usage, Some(0.0));
        assert_eq!((metrics.block_size, metrics.num_blocks), (Some(32), Some(24)));
    }

    #[test]
    fn sglang_is_read_by_its_own_names() {
        let text = "sglang:num_queue_reqs{tp_rank=\"0\"} 3.0\nsglang:num_running_reqs 5.0\nsglang:token_usage 0.25\n\
                    sglang:cache_config_info{page_size=\"64\",num_pages=\"1000\"} 1.0\n";
        let metrics = read(text, NOW);

        assert_eq!((metrics.waiting_requests, metrics.running_requests), (Some(3), Some(5)));
        assert_eq!(
            (metrics.kv_cache_usage, metrics.block_size, metrics.num_blocks),
            (Some(0.25), Some(64), Some(1000))
        );
    }

    #[test]
    fn ranks_behind_one_address_are_added_up() {
        let text = "vllm:num_requests_running{engine=\"0\"} 4\nvllm:num_requests_running{engine=\"1\"} 6\n\
                    vllm:kv_cache_usage_perc{engine=\"0\"} 0.5\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n";
        let metrics = read(text, NOW);

        assert_eq!((metrics.running_requests, metrics.kv_cache_usage), (Some(10), Some(0.625)));
    }

    #[test]
    fn what_is_not_said_or_makes_no_sense_is_unknown() {
        let metrics = read("vllm:num_requests_waiting NaN\nvllm:num_requests_running -1\nother 3\n", NOW);

        assert_eq!((metrics.waiting_requests, metrics.running_requests, metrics.kv_cache_usage), (None, None, None));
    }
}
