//! The tables that llm-d has published, as they stand there.

/// Rates and seconds of `guide_optimized-baseline_1` after the warm-up of 15/s for 50 s.
pub(super) const LADDER: [(f64, f64); 16] = [
    (3.0, 20.0),
    (10.0, 20.0),
    (15.0, 20.0),
    (20.0, 38.0),
    (22.0, 34.0),
    (25.0, 30.0),
    (30.0, 25.0),
    (35.0, 21.0),
    (40.0, 38.0),
    (43.0, 36.0),
    (46.0, 33.0),
    (49.0, 30.0),
    (52.0, 29.0),
    (55.0, 27.0),
    (57.0, 26.0),
    (60.0, 25.0),
];

/// A column of a table, by the stages of its ladder.
pub(super) type Column = [f64; 16];

/// Output tokens per second of the optimized-baseline guide's first table (Qwen3-32B, blend).
pub(super) const A_OUT: Column = [
    1777.0, 5066.0, 7053.0, 11688.0, 12436.0, 12501.0, 13862.0, 14026.0, 16041.0, 16339.0, 16665.0, 16126.0, 16474.0,
    16854.0, 16641.0, 17064.0,
];
/// The same of the Kubernetes service beside it.
pub(super) const A_K8S_OUT: Column = [
    1797.0, 4215.0, 5381.0, 6205.0, 5517.0, 5965.0, 5702.0, 5890.0, 6336.0, 6588.0, 6459.0, 6265.0, 6303.0, 6290.0,
    6089.0, 6551.0,
];
/// Its mean seconds to the first token.
pub(super) const A_K8S_TTFT: Column = [
    0.415, 0.630, 0.881, 18.103, 20.171, 21.842, 24.597, 24.162, 68.673, 72.429, 70.084, 70.659, 74.326, 72.564,
    72.329, 75.586,
];
/// Output tokens per second of the guide's second table (affinity filter and token load).
pub(super) const B_OUT: Column = [
    1511.0, 4597.0, 8995.0, 6656.0, 10809.0, 10452.0, 10509.0, 12290.0, 14134.0, 13522.0, 14050.0, 14941.0, 14542.0,
    14607.0, 13451.0, 13528.0,
];
/// The same of the Kubernetes service beside it.
pub(super) const B_K8S_OUT: Column = [
    1889.0, 4944.0, 6066.0, 4555.0, 6239.0, 6350.0, 6251.0, 6544.0, 6228.0, 6860.0, 6526.0, 6956.0, 7049.0, 6402.0,
    6317.0, 6764.0,
];
/// Output tokens per second of the gpt-oss-120b table.
pub(super) const GPT_OSS_OUT: Column = [
    1301.0, 4240.0, 7639.0, 10104.0, 10967.0, 12021.0, 13654.0, 15505.0, 14311.0, 14262.0, 14425.0, 13615.0, 15465.0,
    14796.0, 14775.0, 16501.0,
];
/// The same of the Kubernetes service beside it.
pub(super) const GPT_OSS_K8S_OUT: Column = [
    1160.0, 4836.0, 6986.0, 9077.0, 9346.0, 10579.0, 12211.0, 11861.0, 13889.0, 14089.0, 14603.0, 14562.0, 15158.0,
    14644.0, 15330.0, 13234.0,
];
/// Rates of the tiered-prefix-cache guide; each lasts 60 s.
pub(super) const TIERED: [f64; 8] = [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0];
/// Rate, mean seconds to the first token and tokens per second: without a second tier, and with host memory.
pub(super) const TIERED_HBM: [(f64, f64, f64); 4] =
    [(5.0, 1.62, 74_638.0), (10.0, 8.08, 122_388.0), (20.0, 43.67, 114_663.0), (40.0, 115.57, 115_645.0)];
pub(super) const TIERED_CPU: [(f64, f64, f64); 4] =
    [(5.0, 1.17, 82_880.0), (10.0, 0.41, 167_028.0), (20.0, 0.89, 300_749.0), (40.0, 25.38, 331_213.0)];
/// Rates and seconds of the 37 % report after the warm-up of 9/s for 30 s.
pub(super) const LADDER_37: [(f64, f64); 9] = [
    (3.0, 210.0),
    (4.0, 180.0),
    (5.0, 120.0),
    (6.0, 120.0),
    (8.0, 90.0),
    (10.0, 70.0),
    (12.0, 60.0),
    (15.0, 50.0),
    (20.0, 50.0),
];
/// Requests per second of the P2P guide's uniform pool, by the rate that was offered: affinity, load, load with pulls.
pub(super) const UNIFORM: [(f64, [f64; 3]); 5] = [
    (6.0, [5.97, 5.59, 5.96]),
    (12.0, [11.92, 9.02, 11.49]),
    (18.0, [17.87, 8.58, 17.46]),
    (24.0, [23.82, 9.01, 21.93]),
    (30.0, [29.76, 9.21, 29.19]),
];
/// The same of its hot set of 64 prefixes.
pub(super) const HOT: [(f64, [f64; 3]); 4] = [
    (12.0, [11.94, 9.31, 11.84]),
    (24.0, [23.04, 11.47, 22.83]),
    (36.0, [34.03, 11.77, 34.34]),
    (48.0, [46.03, 13.85, 44.93]),
];
