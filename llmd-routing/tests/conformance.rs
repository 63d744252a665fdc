//! Every plugin does what its trait's suite says.

use llmd_routing::filter::{
    LabelSelector, LabelSelectorFilter, PrefixCacheAffinityFilter, Requirement, RoleFilter, SessionAffinityFilter,
    TtftSource,
};
use llmd_routing::picker::{MaxScorePicker, PowerOfTwoPicker, RandomPicker, RoundRobinPicker, WeightedRandomPicker};
use llmd_routing::scorer::{
    ActiveRequestScorer, KvCacheUtilizationScorer, NoHitLruScorer, PrefixCacheScorer, QueueScorer,
    RunningRequestsScorer, SessionAffinityScorer, TokenLoadScorer,
};
use llmd_routing::session::Affinity;
use llmd_routing::testing;

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
    testing::filter(|| SessionAffinityFilter::new(Affinity::encoded_endpoint("x-session-token")));
    testing::filter(|| SessionAffinityFilter::new(Affinity::remembered("x-session-id")));
    testing::filter(|| SessionAffinityFilter::new(Affinity::hash("x-session-id")));
}

#[test]
fn scorers_conform() {
    testing::scorer(ActiveRequestScorer::default);
    testing::scorer(|| ActiveRequestScorer::new(2, 0.5));
    testing::scorer(KvCacheUtilizationScorer::default);
    testing::scorer(|| NoHitLruScorer::new("approx-prefix-cache-producer"));
    testing::scorer(|| PrefixCacheScorer::new("approx-prefix-cache-producer"));
    testing::scorer(|| PrefixCacheScorer::new("approx-prefix-cache-producer").with_length(0.3, 256));
    testing::scorer(QueueScorer::default);
    testing::scorer(RunningRequestsScorer::default);
    testing::scorer(|| SessionAffinityScorer::new(Affinity::encoded_endpoint("x-session-token")));
    testing::scorer(|| SessionAffinityScorer::new(Affinity::remembered("x-session-id")));
    testing::scorer(|| SessionAffinityScorer::new(Affinity::hash("x-session-id")));
    testing::scorer(|| TokenLoadScorer::new(10_000));
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
