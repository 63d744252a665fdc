//! The text of a scrape: names, help and order of vLLM 0.32.

use llmd_kvxfer::Outcome;

use super::super::clock::unix_seconds;
use super::super::kv::KvCounts;
use super::Counts;
use super::exposition::Exposition;
use crate::model::EngineSettings;

impl Counts {
    /// The text of a scrape, in vLLM's order, with vLLM's help.
    pub(in super::super) fn render(&self, model: &str, settings: &EngineSettings, kv: Option<&KvCounts>) -> String {
        let mut out = Exposition::new(model);
        self.render_load(&mut out);
        self.render_tokens(&mut out);
        self.render_requests(&mut out);
        render_config(&mut out, settings);
        kv.into_iter().for_each(|kv| render_kv(&mut out, kv));
        out.finish()
    }

    fn render_load(&self, out: &mut Exposition) {
        out.gauge("vllm:num_requests_running", "Number of requests in model execution batches.", self.running as f64);
        out.gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", self.waiting as f64);
        out.by(
            "vllm:num_requests_waiting_by_reason",
            "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = \
             deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals \
             vllm:num_requests_waiting.",
            "gauge",
            "reason",
            &[("capacity", self.waiting as f64), ("deferred", 0.0)],
        );
        out.by(
            "vllm:engine_sleep_state",
            "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 \
             means sleep level 1; discard_all = 1 means sleep level 2.",
            "gauge",
            "sleep_state",
            &[("awake", 1.0), ("weights_offloaded", 0.0), ("discard_all", 0.0)],
        );
        out.gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", self.usage);
    }

    fn render_tokens(&self, out: &mut Exposition) {
        out.counter(
            "vllm:prefix_cache_queries_total",
            "Prefix cache queries, in terms of number of queried tokens.",
            self.queries,
        );
        out.counter(
            "vllm:prefix_cache_hits_total",
            "Prefix cache hits, in terms of number of cached tokens.",
            self.hits,
        );
        out.counter(
            "vllm:external_prefix_cache_queries_total",
            "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried tokens.",
            0,
        );
        out.counter(
            "vllm:external_prefix_cache_hits_total",
            "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached tokens.",
            0,
        );
        out.counter("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.", self.preemptions);
        out.counter("vllm:prompt_tokens_total", "Number of prefill tokens processed.", self.prompt_tokens);
        let computed = (self.prompt_tokens - self.cached_tokens) as f64;
        let cached = self.cached_tokens as f64;
        out.by(
            "vllm:prompt_tokens_by_source_total",
            "Number of prompt tokens by source.",
            "counter",
            "source",
            &[("local_compute", computed), ("local_cache_hit", cached), ("external_kv_transfer", 0.0)],
        );
        out.counter(
            "vllm:prompt_tokens_cached_total",
            "Number of cached prompt tokens (local + external).",
            self.cached_tokens,
        );
        out.by(
            "vllm:prompt_tokens_cached_by_source_total",
            "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to DRAM), disk, \
             p2p (transferred from another vLLM instance) or external_unspecified. Counted at admission; sums to \
             vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.",
            "counter",
            "source",
            &[("device", self.hits as f64), ("host", 0.0), ("p2p", 0.0), ("disk", 0.0), ("external_unspecified", 0.0)],
        );
        out.counter("vllm:generation_tokens_total", "Number of generation tokens processed.", self.generated);
    }

    fn render_requests(&self, out: &mut Exposition) {
        out.by(
            "vllm:request_success_total",
            "Count of successfully processed requests.",
            "counter",
            "finished_reason",
            &[
                ("stop", 0.0),
                ("length", self.finished as f64),
                ("abort", self.aborted as f64),
                ("error", 0.0),
                ("repetition", 0.0),
            ],
        );
        out.front_end_by(
            "vllm:admission_rejections_total",
            "Number of admission attempts rejected by a queue limit, by reason.",
            "reason",
            &[("max_num_queued_reqs", self.rejected as f64), ("max_num_queued_tokens", 0.0)],
        );
        for (name, help, histogram) in [
            ("request_prompt_tokens", "Number of prefill tokens processed.", &self.prompt),
            ("request_generation_tokens", "Number of generation tokens processed.", &self.generation),
            ("iteration_tokens_total", "Histogram of number of tokens per engine_step.", &self.step),
            (
                "request_max_num_generation_tokens",
                "Histogram of maximum number of requested generation tokens.",
                &self.max_generation,
            ),
            ("request_params_n", "Histogram of the n request parameter.", &self.choices),
            ("request_params_max_tokens", "Histogram of the max_tokens request parameter.", &self.max_tokens),
            ("time_to_first_token_seconds", "Histogram of time to first token in seconds.", &self.first_token),
            ("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", &self.between_tokens),
            (
                "request_time_per_output_token_seconds",
                "Histogram of time_per_output_token_seconds per request.",
                &self.per_output_token,
            ),
            ("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", &self.request),
            ("request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", &self.queue),
            (
                "request_inference_time_seconds",
                "Histogram of time spent in RUNNING phase for request.",
                &self.inference,
            ),
            ("request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", &self.prefill),
            ("request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", &self.decode),
            (
                "request_num_preemptions",
                "Histogram of the number of times a request was preempted.",
                &self.request_preemptions,
            ),
            (
                "request_prefill_kv_computed_tokens",
                "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
                &self.computed,
            ),
        ] {
            out.histogram(&format!("vllm:{name}"), help, histogram);
        }
    }
}

fn render_config(out: &mut Exposition, settings: &EngineSettings) {
    let lora = [("max_lora", "1"), ("running_lora_adapters", ""), ("waiting_lora_adapters", "")];
    out.info("vllm:lora_requests_info", "Running stats on lora requests.", &lora, unix_seconds());
    // vLLM counts the null block here.
    let tokens = settings.num_blocks as usize * settings.block_size;
    let concurrency = tokens as f64 / settings.max_model_len as f64;
    let labels = [
        ("block_size", settings.block_size.to_string()),
        ("enable_prefix_caching", "True".into()),
        ("engine", "0".into()),
        ("kv_cache_max_concurrency", concurrency.to_string()),
        ("kv_cache_size_tokens", tokens.to_string()),
        ("num_cpu_blocks", "None".into()),
        ("num_gpu_blocks", settings.num_blocks.to_string()),
        ("prefix_caching_hash_algo", "sha256_cbor".into()),
        ("sliding_window", "None".into()),
    ];
    let labels: Vec<(&str, &str)> = labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
    out.info("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", &labels, 1.0);
}

/// What vLLM has no name for.
fn render_kv(out: &mut Exposition, kv: &KvCounts) {
    let help = "Blocks from other engines that hold what their name says, every byte.";
    out.counter("llmd:kv_blocks_verified_total", help, kv.verified);
    let help = "Blocks from other engines that were found to be corrupt, and were not used.";
    out.counter("llmd:kv_blocks_corrupt_total", help, kv.corrupt);
    let help = "Blocks from other engines that were said to be right and were not.";
    out.counter("llmd:kv_blocks_corrupt_served_total", help, kv.corrupt_served);
    let help = "Blocks that were to come from other engines, and were computed.";
    out.counter("llmd:kv_blocks_recomputed_total", help, kv.recomputed);
    out.counter("llmd:kv_bytes_moved_total", "Bytes that came from other engines.", kv.bytes);
    let ended: Vec<_> =
        Outcome::ALL.iter().zip(kv.ended).map(|(outcome, ended)| (outcome.as_str(), ended as f64)).collect();
    out.by("llmd:kv_fetches_total", "Fetches from other engines, by how they ended.", "counter", "outcome", &ended);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::Constants;
    use crate::model::{Engine, NewRequest, StepReport};

    const CAPTURED: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/vllm-0.32/metrics.txt"));

    /// The engine of the capture: one that has served a request.
    fn scrape() -> String {
        let mut settings = EngineSettings::new(Constants::QWEN3_32B_TP2_H100.scaled(1));
        (settings.block_size, settings.num_blocks, settings.max_model_len) = (32, 24, 640);
        let mut counts = Counts::new(&settings);
        let mut engine = Engine::new(settings.clone(), |_, _| 0).unwrap();
        engine.submit(Duration::ZERO, NewRequest::new([1; 40], 3)).unwrap();
        let (mut now, mut report) = (Duration::from_secs(1), StepReport::default());
        while let Some(takes) = engine.begin_step(now) {
            now += takes;
            engine.end_step(now, &mut report);
            counts.step(now, &report);
        }
        counts.look(&engine);
        counts.render("tiny", &settings, None)
    }

    /// Everything of a line but its value, and of the info metrics the names of their labels.
    fn without_values(text: &str) -> Vec<String> {
        let line = |line: &str| match line.starts_with('#') {
            true => line.trim_end().to_owned(),
            false => line.rsplit_once(' ').map_or_else(String::new, |(name, _)| name.to_owned()),
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn every_line_stands_in_the_scrape_of_a_real_engine_and_in_the_same_order() {
        let captured = without_values(CAPTURED);
        let places: BTreeMap<&str, usize> = captured.iter().map(String::as_str).zip(0..).collect();
        let (mut last, mut compared) = (0, 0);
        for line in without_values(&scrape()).iter().filter(|line| !line.starts_with("vllm:cache_config_info{")) {
            let place = *places.get(line.as_str()).unwrap_or_else(|| panic!("{line} is not in the capture"));
            assert!(place >= last, "{line} stands elsewhere in the capture");
            (last, compared) = (place, compared + 1);
        }
        assert!(compared > 250, "{compared} lines");
    }

    #[test]
    fn the_labels_of_the_cache_configuration_are_some_of_a_real_engines() {
        let labels = |text: &str| -> Vec<(String, String)> {
            let line = text.lines().find(|line| line.starts_with("vllm:cache_config_info{")).unwrap();
            let inside = line.split_once('{').unwrap().1.rsplit_once('}').unwrap().0;
            let pairs = inside.split("\",").filter_map(|pair| pair.trim_end_matches('"').split_once("=\""));
            pairs.map(|(label, value)| (label.to_owned(), value.to_owned())).collect()
        };
        let real: BTreeMap<_, _> = labels(CAPTURED).into_iter().collect();
        let ours = labels(&scrape());
        assert_eq!(ours.len(), 9);
        for (label, value) in ours {
            let captured = &real[&label];
            // The capture's server had another algorithm.
            if label != "prefix_caching_hash_algo" {
                assert_eq!(*captured, value, "{label}");
            }
        }
    }

    #[test]
    fn what_a_request_did_is_counted() {
        let text = scrape();
        for line in [
            "vllm:prompt_tokens_total{engine=\"0\",model_name=\"tiny\"} 40.0",
            "vllm:generation_tokens_total{engine=\"0\",model_name=\"tiny\"} 3.0",
            "vllm:request_success_total{engine=\"0\",finished_reason=\"length\",model_name=\"tiny\"} 1.0",
            "vllm:inter_token_latency_seconds_count{engine=\"0\",model_name=\"tiny\"} 2.0",
            "vllm:request_prompt_tokens_bucket{engine=\"0\",le=\"20.0\",model_name=\"tiny\"} 0.0",
            "vllm:request_prompt_tokens_bucket{engine=\"0\",le=\"50.0\",model_name=\"tiny\"} 1.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }
}
