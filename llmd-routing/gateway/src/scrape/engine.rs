//! What an engine's metrics say about its load, whatever engine it is.
//!
//! Names as in llm-d's table of engines: vLLM `vllm:num_requests_waiting`, `vllm:num_requests_running`,
//! `vllm:kv_cache_usage_perc`, `vllm:cache_config_info{block_size,num_gpu_blocks}`; SGLang `sglang:num_queue_reqs`,
//! `sglang:num_running_reqs`, `sglang:token_usage`, `sglang:cache_config_info{page_size,num_pages}`. An engine is
//! recognised by the names that it uses. Of adapters, vLLM says
//! `vllm:lora_requests_info{running_lora_adapters,waiting_lora_adapters,max_lora}`.

use std::time::Duration;

use llmd_routing::{EngineMetrics, LoraMetrics};

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
            "vllm:lora_requests_info" => sums.adapters(&sample),
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
    metrics.lora = sums.lora.map(|(_, lora)| lora);
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
    /// What was said of adapters last, and when.
    lora: Option<(f64, LoraMetrics)>,
}

impl Sums {
    fn cache(&mut self, sample: &Sample<'_>, size: &str, count: &str) {
        self.block_size = self.block_size.or_else(|| sample.label(size)?.parse().ok());
        if let Some(blocks) = sample.label(count).and_then(|count| count.parse::<u64>().ok()) {
            self.blocks = Some(self.blocks.unwrap_or(0).saturating_add(blocks));
        }
    }

    /// Whatever an engine once said of adapters stays on its page, with the time as its value: the latest counts.
    fn adapters(&mut self, sample: &Sample<'_>) {
        let earlier = self.lora.as_ref().is_some_and(|(said, _)| sample.value <= *said);
        if earlier || sample.value.is_nan() {
            return;
        }
        let mut lora = LoraMetrics::default();
        lora.running = sample.label("running_lora_adapters").map(|list| names(&list)).unwrap_or_default();
        lora.waiting = sample.label("waiting_lora_adapters").map(|list| names(&list)).unwrap_or_default();
        lora.max = sample.label("max_lora").and_then(|max| max.parse().ok()).unwrap_or(0);
        self.lora = Some((sample.value, lora));
    }
}

/// Names with commas between them.
fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
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
        let lora = metrics.lora.expect("it serves adapters");
        assert_eq!((lora.running.len(), lora.waiting.len(), lora.max), (0, 0, 1));
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
    fn of_what_was_said_of_adapters_the_latest_counts() {
        let said = |running: &str, waiting: &str, at: &str| {
            format!(
                "vllm:lora_requests_info{{max_lora=\"4\",running_lora_adapters=\"{running}\",\
                 waiting_lora_adapters=\"{waiting}\"}} {at}\n"
            )
        };
        let table = [
            said("old", "", "1.0") + &said("poet,jurist", " clerk ", "3.0") + &said("older", "", "2.0"),
            said("poet,jurist", "clerk", "3.0") + &said("nobody", "", "NaN"),
        ];
        for text in table {
            let lora = read(&text, NOW).lora.expect("it says so");
            assert_eq!((lora.running, lora.waiting, lora.max), (names("poet,jurist"), names("clerk"), 4), "{text}");
        }
        assert_eq!(read("vllm:num_requests_running 1\n", NOW).lora, None);
    }

    #[test]
    fn what_is_not_said_or_makes_no_sense_is_unknown() {
        let metrics = read("vllm:num_requests_waiting NaN\nvllm:num_requests_running -1\nother 3\n", NOW);

        assert_eq!((metrics.waiting_requests, metrics.running_requests, metrics.kv_cache_usage), (None, None, None));
    }
}
