//! The plugins of llm-d that are not there, and what to do meanwhile.

/// What to do without the plugin type of this name; `None` when llm-d has none of this name, or llmd has it too.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(absent, _)| *absent == name).map(|(_, instead)| *instead)
}

static ABSENT: &[(&str, &str)] = &[
    ("burst-prefix-cache-producer", "use approx-prefix-cache-producer; bursts spread by the reservation at pick"),
    ("edf-ordering-policy", FLOW),
    ("k8s-notification-source", "give the gateway an endpoints file"),
    ("multicluster-approx-prefix-cache-producer", CLUSTER),
    ("multicluster-file-discovery", CLUSTER),
    ("multicluster-kv-cache-utilization-scorer", CLUSTER),
    ("multicluster-metrics-data-source", CLUSTER),
    ("multicluster-metrics-extractor", CLUSTER),
    ("multicluster-prefix-cache-scorer", CLUSTER),
    ("multicluster-queue-scorer", CLUSTER),
    ("multicluster-session-affinity-filter", CLUSTER),
    ("predicted-latency-producer", "use queue-scorer and token-load-scorer"),
    ("priority-holdback-policy", FLOW),
    ("priority-then-time-eviction-order-policy", FLOW),
    ("program-aware-fairness", FLOW),
    ("round-robin-fairness-policy", FLOW),
    ("sheddable-eviction-filter", FLOW),
    ("slo-deadline-ordering-policy", FLOW),
    ("soft-reflective-ceiling-policy", FLOW),
];

const CLUSTER: &str = "run one scheduler per cluster";
pub(super) const FLOW: &str = "flow control is not there yet; leave it out, and bound requests at the gateway";
