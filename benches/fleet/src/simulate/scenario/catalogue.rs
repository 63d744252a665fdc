//! Every scenario, by name.

use std::sync::Arc;
use std::time::Duration;

use super::machines::{GPT_OSS_H100, GPT_OSS_H200, GPT_OSS_PULL_S, LLAMA_70B, QWEN3_32B, tiered, with_blocks_of};
use super::published::{
    A_K8S_OUT, A_K8S_TTFT, A_OUT, B_K8S_OUT, B_OUT, Column, GPT_OSS_K8S_OUT, GPT_OSS_OUT, HOT, LADDER, LADDER_37,
    TIERED, TIERED_CPU, TIERED_HBM, UNIFORM,
};
use super::{Arm, Measure, Recipe, Row, Scenario};
use crate::simulate::driver::{Death, Fleet, Pulls};
use crate::simulate::engine::Machine;
use crate::simulate::load::{Arrivals, Load, Sessions, SharedPrefix, Stage};

/// The names of all scenarios: first those of published tables, then our own.
pub const NAMES: [&str; 16] = [
    "ladder-a",
    "ladder-b",
    "k8s",
    "tiered",
    "capacity-73",
    "capacity-37",
    "gpt-oss",
    "p2p-uniform",
    "p2p-hot",
    "burst",
    "agentic",
    "heterogeneous",
    "stale-metrics",
    "lost-events",
    "dying-engines",
    "many-routers",
];

/// The scenario of this name.
pub fn named(name: &str) -> Option<Scenario> {
    Some(match name {
        "ladder-a" => ladder_a(),
        "ladder-b" => ladder_b(),
        "k8s" => k8s(),
        "tiered" => tiers(),
        "capacity-73" => capacity_73(),
        "capacity-37" => capacity_37(),
        "gpt-oss" => gpt_oss(),
        "p2p-uniform" => p2p_uniform(),
        "p2p-hot" => p2p_hot(),
        "burst" => burst(),
        "agentic" => agentic(),
        "heterogeneous" => heterogeneous(),
        "stale-metrics" => stale_metrics(),
        "lost-events" => lost_events(),
        "dying-engines" => dying_engines(),
        "many-routers" => many_routers(),
        _ => return None,
    })
}

/// A recorded load on the fleet of the ladders.
pub fn traced(load: Load) -> Scenario {
    Scenario {
        name: "trace",
        about: "A recorded trace on 8 engines of Qwen3-32B TP2 on H100.",
        objective: Measure::Whole,
        fleet: Fleet::of(8, QWEN3_32B),
        arms: Vec::new(),
        recipe: Recipe::Recorded(load),
    }
}

fn ladder(machine: &Machine, [system, question, output]: [usize; 3]) -> Recipe {
    let stages = LADDER.map(|(rate, seconds)| Stage::new(rate, seconds));
    Recipe::Staged {
        prompts: Arc::new(SharedPrefix::new(150, 5, [system, question, output], machine.block_size)),
        stages: [Stage::warm_up(15.0, 50.0)].into_iter().chain(stages).collect(),
        arrivals: Arrivals::Poisson,
        pause: Duration::from_secs(30),
    }
}

fn by_stage(measure: Measure, column: Column) -> impl Iterator<Item = Row> {
    LADDER.into_iter().zip(column).map(move |((rate, _), published)| Row::at(measure, rate, published))
}

fn ladder_a() -> Scenario {
    let fleet = Fleet::of(8, QWEN3_32B);
    let whole = [Row::whole(Measure::OutputPerS, 13_163.0).within(10.0), Row::whole(Measure::FirstToken, 0.156)];
    let rows = whole.into_iter().chain(by_stage(Measure::OutputPerS, A_OUT)).collect();
    Scenario {
        name: "ladder-a",
        about: "llm-d's optimized baseline, table A: 150 × 5 prompts of 6000 + 1200 tokens, 1000 out, 16 Poisson stages of 3 \
                to 60 requests/s on 8 engines of Qwen3-32B TP2 on H100 (guides/optimized-baseline, README @021723b).",
        objective: Measure::OutputPerS,
        recipe: ladder(&QWEN3_32B, [6000, 1200, 1000]),
        arms: vec![Arm { figure: "ladder_a", policy: "llm-d-blend", fleet: fleet.clone(), rows }],
        fleet,
    }
}

fn ladder_b() -> Scenario {
    let fleet = Fleet::of(8, QWEN3_32B);
    let whole = [Row::whole(Measure::OutputPerS, 11_162.0).within(10.0)];
    let rows = whole.into_iter().chain(by_stage(Measure::OutputPerS, B_OUT)).collect();
    Scenario {
        name: "ladder-b",
        about: "The same load as ladder-a; table B: the affinity filter and token load (benchmark-results/vllm-qwen3-32b-h100 \
                @53c5b20).",
        arms: vec![Arm { figure: "ladder_b", policy: "llm-d-affinity", fleet, rows }],
        ..ladder_a()
    }
}

fn k8s() -> Scenario {
    let fleet = Fleet::of(8, QWEN3_32B);
    let a = [Row::whole(Measure::OutputPerS, 5722.0).within(20.0), Row::whole(Measure::FirstToken, 58.10)];
    let a = a.into_iter().chain(by_stage(Measure::OutputPerS, A_K8S_OUT));
    let a = a.chain(by_stage(Measure::FirstToken, A_K8S_TTFT)).collect();
    let b = [Row::whole(Measure::OutputPerS, 5996.0).within(20.0)]
        .into_iter()
        .chain(by_stage(Measure::OutputPerS, B_K8S_OUT));
    Scenario {
        name: "k8s",
        about: "The same load as ladder-a; the Kubernetes service beside tables A and B, which sends each connection anywhere.",
        arms: vec![
            Arm { figure: "k8s_a", policy: "random", fleet: fleet.clone(), rows: a },
            Arm { figure: "k8s", policy: "random", fleet, rows: b.collect() },
        ],
        ..ladder_a()
    }
}

fn tiers() -> Scenario {
    let arm = |figure, policy, host_tokens, table: &[(f64, f64, f64)], within: &[f64]| {
        let row = |&(rate, first_token, tokens): &(f64, f64, f64)| {
            let gated = Row::at(Measure::TokensPerS, rate, tokens);
            let gated = if within.contains(&rate) { gated.within(10.0) } else { gated };
            [gated, Row::at(Measure::FirstToken, rate, first_token)]
        };
        let fleet = Fleet::of(8, tiered(host_tokens));
        Arm { figure, policy, fleet, rows: table.iter().flat_map(row).collect() }
    };
    Scenario {
        name: "tiered",
        about: "llm-d's tiered prefix cache: 250 × 5 prompts of 16000 + 256 tokens, 256 out, Poisson stages of 60 s at 5 to 40 \
                requests/s on 8 engines of Qwen3-32B TP2 on H100 with 298,000 tokens of GPU cache; host memory for 1.312 M \
                tokens each, as the guide counts, or 819,000, which is what 200 GiB hold; 22.5 GB/s and GPU \
                (guides/tiered-prefix-cache @05126b7). The guide does not say how the arm without host memory was routed: by \
                the blend over the caches as events tell them, here.",
        objective: Measure::TokensPerS,
        recipe: Recipe::Staged {
            prompts: Arc::new(SharedPrefix::new(250, 5, [16_000, 256, 256], tiered(0).block_size)),
            stages: TIERED.map(|rate| Stage::new(rate, 60.0)).to_vec(),
            arrivals: Arrivals::Poisson,
            pause: Duration::from_secs(60),
        },
        arms: vec![
            arm("tiered_cpu", "tiered", 1_312_000, &TIERED_CPU, &[20.0, 40.0]),
            arm("tiered_hbm", "precise-unspeculative", 0, &TIERED_HBM, &[20.0, 40.0]),
            Arm { rows: Vec::new(), ..arm("tiered_cpu_819k", "tiered", 819_200, &[], &[]) },
        ],
        fleet: Fleet::of(8, tiered(1_312_000)),
    }
}

fn arms(fleet: &Fleet, table: [(&'static str, &'static str, Vec<Row>); 4]) -> Vec<Arm> {
    table.map(|(figure, policy, rows)| Arm { figure, policy, fleet: fleet.clone(), rows }).into()
}

fn report(output: f64, first_token: f64) -> Vec<Row> {
    vec![Row::whole(Measure::OutputPerS, output), Row::whole(Measure::FirstToken, first_token)]
}

fn capacity_73() -> Scenario {
    let machine = with_blocks_of(QWEN3_32B, 64);
    let fleet = Fleet::of(8, machine.clone());
    Scenario {
        name: "capacity-73",
        about: "llm-d-kv-cache's 73 % report: the prompts and stages of ladder-a on the same engines with blocks of 64 tokens, \
                each policy with the configuration of the report. Its output tokens per second are 60 to 75 % of what the same \
                load gives in table A, at every rate: it counts them otherwise.",
        arms: arms(
            &fleet,
            [
                ("precise", "precise-73", report(8730.0, 0.298)),
                ("approximate", "approximate-73", report(6944.4, 13.316)),
                ("random", "random", report(4428.7, 45.281)),
                ("load", "load", report(4266.4, 46.987)),
            ],
        ),
        recipe: ladder(&machine, [6000, 1200, 1000]),
        fleet,
        ..ladder_a()
    }
}

fn capacity_37() -> Scenario {
    let fleet = Fleet::of(4, LLAMA_70B);
    Scenario {
        name: "capacity-37",
        about: "llm-d-kv-cache's 37 % report: 83 × 3 prompts of 8000 + 1000 tokens, 1000 out, 9 stages of 3 to 20 requests/s at \
                equal distances on 4 engines of Llama-3.1-70B TP4 on H100 with 461,376 tokens of cache, each policy with the \
                configuration of the report. Prefill throughput is not published as such: 6,900 tokens/s from the storage guide's table.",
        objective: Measure::OutputPerS,
        recipe: Recipe::Staged {
            prompts: Arc::new(SharedPrefix::new(83, 3, [8000, 1000, 1000], LLAMA_70B.block_size)),
            stages: [Stage::warm_up(9.0, 30.0)].into_iter().chain(LADDER_37.map(|(r, s)| Stage::new(r, s))).collect(),
            arrivals: Arrivals::Constant,
            pause: Duration::from_secs(30),
        },
        arms: arms(
            &fleet,
            [
                ("precise", "precise-37", report(5650.0, 0.193)),
                ("approximate", "approximate-37", report(5096.2, 1.549)),
                ("load", "load", report(3018.3, 41.058)),
                ("random", "random", report(2895.4, 42.011)),
            ],
        ),
        fleet,
    }
}

fn gpt_oss() -> Scenario {
    let fleet = Fleet::of(16, GPT_OSS_H100);
    let rows = |first_token, column: Column| {
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        report(mean, first_token).into_iter().chain(by_stage(Measure::OutputPerS, column)).collect()
    };
    Scenario {
        name: "gpt-oss",
        about: "The stages of ladder-a with 150 × 5 prompts of 6000 + 500 tokens, 500 out, on 16 engines of gpt-oss-120b TP1 on \
                H100 (benchmark-results/vllm-gpt-oss-120b-h100 @17e359c). The whole is the mean of its stages; the summary there, \
                7,594 and 7,018, is not that. The size of the cache is not published: 234,000 tokens from what the guide says \
                about memory.",
        objective: Measure::OutputPerS,
        recipe: ladder(&GPT_OSS_H100, [6000, 500, 500]),
        arms: vec![
            Arm {
                figure: "affinity",
                policy: "llm-d-affinity-gpt-oss",
                fleet: fleet.clone(),
                rows: rows(1.166, GPT_OSS_OUT),
            },
            Arm { figure: "k8s", policy: "random", fleet: fleet.clone(), rows: rows(3.368, GPT_OSS_K8S_OUT) },
        ],
        fleet,
    }
}

fn p2p_arms(table: &[(f64, [f64; 3])]) -> Vec<Arm> {
    let fleet = Fleet::of(16, GPT_OSS_H200);
    let pulls = Pulls { min_tokens: 2048, seconds: GPT_OSS_PULL_S };
    let rows = |column: usize| {
        let row = |(rate, columns): &(f64, [f64; 3])| Row::at(Measure::RequestsPerS, *rate, columns[column]);
        table.iter().map(row).collect()
    };
    let pulling = Fleet { pulls: Some(pulls), ..fleet.clone() };
    vec![
        Arm { figure: "affinity", policy: "precise", fleet: fleet.clone(), rows: rows(0) },
        Arm { figure: "load_p2p", policy: "p2p-load", fleet: pulling, rows: rows(2) },
        Arm { figure: "load", policy: "p2p-load", fleet, rows: rows(1) },
    ]
}

fn p2p(prefixes: usize, output: usize, rates: &[f64]) -> Recipe {
    Recipe::Staged {
        prompts: Arc::new(SharedPrefix::new(prefixes, 5, [49_152, 256, output], GPT_OSS_H200.block_size)),
        stages: [Stage::warm_up(4.0, 60.0)]
            .into_iter()
            .chain(rates.iter().map(|&rate| Stage::new(rate, 60.0)))
            .collect(),
        arrivals: Arrivals::Constant,
        pause: Duration::from_secs(30),
    }
}

fn p2p_uniform() -> Scenario {
    Scenario {
        name: "p2p-uniform",
        about: "llm-d's P2P KV-cache sharing, uniform pool: 128 prefixes of 49,152 tokens with questions of 256, 64 out, stages of \
                6 to 30 requests/s at equal distances on 16 engines of gpt-oss-120b TP1 on H200, 88 GiB of host memory each; a \
                pull takes what the guide measured (benchmark-results/gpt-oss-120b-h200.md @067fe1b). How long stages last is \
                not published: 60 s.",
        objective: Measure::RequestsPerS,
        recipe: p2p(128, 64, &UNIFORM.map(|(rate, _)| rate)),
        arms: p2p_arms(&UNIFORM),
        fleet: Fleet::of(16, GPT_OSS_H200),
    }
}

fn p2p_hot() -> Scenario {
    Scenario {
        name: "p2p-hot",
        about: "The same guide's hot set: 64 prefixes of 49,152 tokens, 512 out, stages of 12 to 48 requests/s. The guide says \
                512 tokens out and answers of 0.3 s, which do not fit; 64 are taken.",
        recipe: p2p(64, 64, &HOT.map(|(rate, _)| rate)),
        arms: p2p_arms(&HOT),
        ..p2p_uniform()
    }
}

/// The prompts of the ladders at one rate for a while, on a fleet of our own.
fn steady(name: &'static str, about: &'static str, rate: f64, fleet: Fleet) -> Scenario {
    Scenario {
        name,
        about,
        objective: Measure::Whole,
        recipe: Recipe::Staged {
            prompts: Arc::new(SharedPrefix::new(150, 5, [6000, 1200, 1000], fleet.machines[0].block_size)),
            stages: vec![Stage::warm_up(15.0, 50.0), Stage::new(rate, 150.0)],
            arrivals: Arrivals::Poisson,
            pause: Duration::from_secs(30),
        },
        arms: Vec::new(),
        fleet,
    }
}

fn burst() -> Scenario {
    Scenario {
        name: "burst",
        about: "60 bursts, 5 s apart, each of 48 requests within 0.1 s for one prompt of 6000 tokens that nobody has seen, 200 \
                out, on 8 engines of Qwen3-32B TP2 on H100.",
        objective: Measure::Whole,
        recipe: Recipe::Bursts {
            bursts: (60, 5.0),
            requests: 48,
            tokens: (6000, 200),
            block_size: QWEN3_32B.block_size,
        },
        arms: Vec::new(),
        fleet: Fleet::of(8, QWEN3_32B),
    }
}

fn agentic() -> Scenario {
    Scenario {
        name: "agentic",
        about: "240 coding sessions, 40 at once: 3000 tokens that all share, 55,000 ± 25,000 of their own (15,000 to 100,000), 2 to \
                20 turns (mean 6) of 1500 ± 1500 more (100 to 10,000), answers of 800 ± 800 (50 to 4000), tools of 5 s, on 10 \
                engines of Qwen3-32B TP2 on H100 (llm-d's blog of 2026-08-17; the spread of turns, input and output is ours).",
        objective: Measure::Whole,
        recipe: Recipe::Sessions {
            sessions: Sessions {
                shared: 3000,
                own: (55_000.0, 25_000.0, 15_000, 100_000),
                turns: (6.0, 4.0, 2, 20),
                input: (1500.0, 1500.0, 100, 10_000),
                output: (800.0, 800.0, 50, 4000),
                think_s: 5.0,
                limit: 150_000,
            },
            number: 240,
            at_once: 40,
            block_size: 64,
        },
        arms: Vec::new(),
        fleet: Fleet::of(10, with_blocks_of(QWEN3_32B, 64)),
    }
}

fn heterogeneous() -> Scenario {
    let mut fleet = Fleet::of(8, QWEN3_32B);
    fleet.machines.iter_mut().skip(4).for_each(|machine| machine.speed = 0.5);
    let about = "The prompts of the ladders at 12 requests/s for 150 s on 4 engines of Qwen3-32B TP2 on H100 and 4 that take \
                 twice as long.";
    steady("heterogeneous", about, 12.0, fleet)
}

fn stale_metrics() -> Scenario {
    let fleet = Fleet { scrape: Duration::from_secs(5), ..Fleet::of(8, QWEN3_32B) };
    let about = "The prompts of the ladders at 16 requests/s for 150 s on the fleet of ladder-a, whose metrics are read every 5 s.";
    steady("stale-metrics", about, 16.0, fleet)
}

fn lost_events() -> Scenario {
    let fleet = Fleet { lost_events: 0.01, replays: false, ..Fleet::of(8, QWEN3_32B) };
    let about = "The prompts of the ladders at 16 requests/s for 150 s on the fleet of ladder-a, one of 100 of whose batches of KV \
                 events is lost; nothing is replayed, so the index waits for 10 s and goes on in doubt.";
    steady("lost-events", about, 16.0, fleet)
}

fn dying_engines() -> Scenario {
    let death = |engine, at| Death { engine, at: Duration::from_secs(at), away: Duration::from_secs(30) };
    let fleet = Fleet { deaths: vec![death(0, 130), death(3, 160), death(5, 190)], ..Fleet::of(8, QWEN3_32B) };
    let about = "The prompts of the ladders at 14 requests/s for 150 s on the fleet of ladder-a, three engines of which end, with all \
                 that they hold, and come back after 30 s; requests are sent again.";
    steady("dying-engines", about, 14.0, fleet)
}

fn many_routers() -> Scenario {
    let fleet = Fleet { routers: 8, ..Fleet::of(8, QWEN3_32B) };
    let about = "The prompts of the ladders at 16 requests/s for 150 s on the fleet of ladder-a behind 8 routers, none of which sees \
                 what the others have in flight.";
    steady("many-routers", about, 16.0, fleet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::scenario::Policy;

    #[test]
    fn every_name_is_a_scenario_whose_policies_are_there() {
        for name in NAMES {
            let scenario = named(name).unwrap();
            assert_eq!(scenario.name, name);
            for arm in &scenario.arms {
                assert!(Policy::built_in(arm.policy).is_some(), "{name}: {}", arm.policy);
            }
        }
        assert!(named("another").is_none());
    }
}
