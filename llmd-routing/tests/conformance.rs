//! Every plugin does what its trait's suite says.

use llmd_routing::filter::{
    ByLabelFilter, ConcurrencyDetector, Condition, EndpointAttributeFilter, HeaderBasedTestingFilter, LabelSelector,
    LabelSelectorFilter, Metric, Operator, PrefixCacheAffinityFilter, Requirement, RoleFilter, SessionAffinityFilter,
    SloHeadroomTierFilter, TopologyAffinityFilter, TtftSource, UtilizationDetector, UtilizationFilter,
};
use llmd_routing::picker::{MaxScorePicker, PowerOfTwoPicker, RandomPicker, RoundRobinPicker, WeightedRandomPicker};
use llmd_routing::scorer::{
    ActiveRequestScorer, Better, CompletionTimeScorer, ContextLengthAware, EndpointAttributeScorer,
    HeaderLabelAffinityScorer, Headroom, KvCacheUtilizationScorer, LatencyScorer, LoadAwareScorer, LoraAffinityScorer,
    MissingMetrics, MmEmbeddingsCacheScorer, NoHitLruScorer, PrefixCacheScorer, QueueScorer, RunningRequestsScorer,
    SessionAffinityScorer, Slots, TokenLoadScorer, TopologyAffinityScorer,
};
use llmd_routing::session::{Affinity, Source};
use llmd_routing::testing;
use llmd_routing::topology::{Level, TopologyLabels};

#[test]
fn filters_conform() {
    testing::filter(RoleFilter::decode);
    testing::filter(RoleFilter::prefill);
    testing::filter(RoleFilter::encode);
    testing::filter(|| LabelSelectorFilter::new(LabelSelector::default()));
    testing::filter(|| {
        let match_expressions = vec![Requirement::DoesNotExist("llm-d.ai/role".to_owned())];
        LabelSelectorFilter::new(LabelSelector { match_expressions, ..LabelSelector::default() })
    });
    testing::filter(|| {
        let source = TtftSource::PrefillThroughput(1000.0);
        PrefixCacheAffinityFilter::new("p", 0.5).exploring(0.5).with_max_ttft_penalty(500.0, source)
    });
    testing::filter(|| {
        let source = TtftSource::LatencyPredictor("predicted-latency-producer".to_owned());
        PrefixCacheAffinityFilter::new("p", 0.5).with_max_ttft_penalty(500.0, source)
    });
    testing::filter(|| ByLabelFilter::new("llm-d.ai/role", ["decode", "both"]));
    testing::filter(ConcurrencyDetector::default);
    testing::filter(|| ContextLengthAware::new("llm-d.ai/context-length-range", true));
    testing::filter(|| EndpointAttributeFilter::new(testing::ATTRIBUTE, Operator::LessThan, 0.5));
    testing::filter(HeaderBasedTestingFilter::default);
    testing::filter(|| SloHeadroomTierFilter::new("predicted-latency-producer", 0.5));
    testing::filter(|| TopologyAffinityFilter::new(Level::Zone, TopologyLabels::default()));
    testing::filter(|| {
        let metrics = [Metric::ActiveRequests, Metric::KvCacheUtilization, Metric::WaitingQueue];
        UtilizationFilter::new(metrics.map(|metric| Condition { metric, max_value: 0.5 }))
    });
    testing::filter(UtilizationDetector::default);
    testing::filter(|| SessionAffinityFilter::new(Affinity::encoded_endpoint("x-session-token")));
    testing::filter(|| SessionAffinityFilter::new(Affinity::remembered("x-session-id")));
    testing::filter(|| SessionAffinityFilter::new(Affinity::hash("x-session-id")));
    testing::filter(|| {
        let sources = vec![Source::Attribute("session-id".to_owned()), Source::header("x-session-id")];
        SessionAffinityFilter::new(Affinity::hash("x").with_sources(sources).of_profile("prefill"))
    });
}

#[test]
fn scorers_conform() {
    testing::scorer(ActiveRequestScorer::default);
    testing::scorer(|| ActiveRequestScorer::new(2, 0.5));
    testing::scorer(ContextLengthAware::default);
    testing::scorer(|| EndpointAttributeScorer::new(testing::ATTRIBUTE, Better::Lower));
    testing::scorer(|| EndpointAttributeScorer::new(testing::ATTRIBUTE, Better::Higher).within(0.0, 0.5));
    testing::scorer(|| HeaderLabelAffinityScorer::new("x-session-id", "llm-d.ai/role"));
    testing::scorer(KvCacheUtilizationScorer::default);
    testing::scorer(|| KvCacheUtilizationScorer::new(MissingMetrics::Zero));
    testing::scorer(|| LatencyScorer::new("predicted-latency-producer", "approx-prefix-cache-producer"));
    testing::scorer(|| LatencyScorer::new("l", "p").with_headroom(Headroom::Most));
    testing::scorer(LoadAwareScorer::default);
    testing::scorer(LoraAffinityScorer::default);
    testing::scorer(|| LoraAffinityScorer::new(Slots::Sum));
    testing::scorer(|| MmEmbeddingsCacheScorer::new("mm-embeddings-cache-producer"));
    testing::scorer(|| NoHitLruScorer::new("approx-prefix-cache-producer"));
    testing::scorer(|| PrefixCacheScorer::new("approx-prefix-cache-producer"));
    testing::scorer(|| PrefixCacheScorer::new("approx-prefix-cache-producer").with_length(0.3, 256));
    testing::scorer(QueueScorer::default);
    testing::scorer(|| QueueScorer::new(MissingMetrics::Zero));
    testing::scorer(RunningRequestsScorer::default);
    testing::scorer(|| RunningRequestsScorer::new(MissingMetrics::Zero));
    testing::scorer(|| SessionAffinityScorer::new(Affinity::encoded_endpoint("x-session-token")));
    testing::scorer(|| SessionAffinityScorer::new(Affinity::remembered("x-session-id")));
    testing::scorer(|| SessionAffinityScorer::new(Affinity::hash("x-session-id")));
    testing::scorer(|| TokenLoadScorer::new(10_000));
    testing::scorer(CompletionTimeScorer::default);
    testing::scorer(TopologyAffinityScorer::default);
}

#[test]
fn pickers_conform() {
    for picks in [1, 2, 1000] {
        testing::picker(|| MaxScorePicker::new(picks));
        testing::picker(|| PowerOfTwoPicker::new(picks));
        testing::picker(|| RandomPicker::new(picks));
        testing::picker(|| RoundRobinPicker::new(picks));
        testing::picker(|| WeightedRandomPicker::new(picks));
    }
}
