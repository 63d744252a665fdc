//! Decisions: what they reserve, how they go on, and when there is none.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::ErrorKind;
use llmd_core::protocol::ROLE_LABEL;
use llmd_routing::handler::SingleProfileHandler;
use llmd_routing::picker::{MaxScorePicker, RandomPicker, RoundRobinPicker};
use llmd_routing::plugin::{
    Attributes, Candidates, Context, Data, Hooks, Picked, Picker, Plugin, ProfileHandler, Ran, Refusal, Scorer,
};
use llmd_routing::testing::{Chance, metrics, pool, request};
use llmd_routing::{Components, Decision, Endpoint, Fate, Headers, Pool, Profile, Request, Scheduler, Usage};
use parking_lot::Mutex;
use proptest::prelude::*;

const NOW: Duration = Duration::from_secs(1);

fn scheduler(plugins: &str) -> Scheduler {
    let yaml = format!("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n{plugins}");
    let builder = Scheduler::from_yaml(&yaml).expect("the configuration reads");
    builder.allow_experimental(true).build().expect("its plugins fit together")
}

fn decide(scheduler: &Scheduler, request: &Request, pool: &Pool, chance: &mut Chance) -> Decision {
    scheduler.decide(request, pool, NOW, chance).expect("somebody is there")
}

fn in_flight(pool: &Pool) -> Vec<(u64, u64)> {
    pool.iter().map(|endpoint| (endpoint.in_flight().requests(), endpoint.in_flight().tokens())).collect()
}

#[test]
fn a_burst_spreads_evenly() {
    let (scheduler, pool, mut chance) = (scheduler("- type: active-request-scorer"), pool(8), Chance::new(1));
    let decisions: Vec<_> = (0..1000).map(|_| decide(&scheduler, &request([]), &pool, &mut chance)).collect();

    assert!(in_flight(&pool).iter().all(|&(requests, _)| requests == 125), "{:?}", in_flight(&pool));
    drop(decisions);
    assert!(in_flight(&pool).iter().all(|&(requests, _)| requests == 0));
}

#[test]
fn a_burst_from_many_threads_spreads_evenly() {
    let (scheduler, pool) = (scheduler("- type: active-request-scorer"), pool(8));
    let decisions: Vec<Vec<Decision>> = std::thread::scope(|scope| {
        let burst = |seed| {
            let (scheduler, pool) = (&scheduler, &pool);
            let mut chance = Chance::new(seed);
            move || (0..125).map(|_| decide(scheduler, &request([]), pool, &mut chance)).collect()
        };
        let threads: Vec<_> = (0..8).map(|seed| scope.spawn(burst(seed))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a burst ends")).collect()
    });

    assert_eq!(decisions.iter().map(Vec::len).sum::<usize>(), 1000);
    assert!(in_flight(&pool).iter().all(|&(requests, _)| requests == 125), "{:?}", in_flight(&pool));
}

#[test]
fn tokens_count_until_the_first_comes_back_and_the_request_until_its_end() {
    let (scheduler, pool, mut chance) = (scheduler("- type: token-load-scorer"), pool(1), Chance::new(1));
    let mut decision = decide(&scheduler, &request(0..100), &pool, &mut chance);
    assert_eq!(in_flight(&pool), [(1, 100)]);
    decision.first_token(NOW);
    assert_eq!(in_flight(&pool), [(1, 0)]);
    decision.end(NOW, &Usage::default());
    assert_eq!(in_flight(&pool), [(0, 0)]);
}

#[test]
fn expected_output_counts_until_the_end() {
    let estimated = "- type: token-load-scorer\n- type: inflight-load-producer\n  parameters: {addEstimatedOutputTokens: true, maxEstimatedOutputTokens: 120}";
    let (scheduler, pool, mut chance) = (scheduler(estimated), pool(1), Chance::new(1));
    let mut decision = decide(&scheduler, &request(0..100), &pool, &mut chance);
    decision.first_token(NOW);
    assert_eq!(in_flight(&pool), [(1, 220)]);
    drop(decision);

    let mut short = request(0..100);
    short.max_output_tokens = Some(7);
    let _decision = decide(&scheduler, &short, &pool, &mut chance);
    assert_eq!(in_flight(&pool), [(1, 107)]);
}

#[test]
fn the_reservation_follows_a_retry_and_the_last_endpoint_keeps_it() {
    let (scheduler, pool, mut chance) = (scheduler("- type: active-request-scorer"), pool(3), Chance::new(1));
    let mut decision = decide(&scheduler, &request(0..10), &pool, &mut chance);
    let ranked: Vec<_> = decision.ranked().cloned().collect();

    for (tried, endpoint) in ranked.iter().enumerate() {
        assert!(Arc::ptr_eq(decision.endpoint(), endpoint));
        assert_eq!(endpoint.in_flight().requests(), 1);
        assert_eq!(in_flight(&pool).iter().map(|(requests, _)| requests).sum::<u64>(), 1);
        assert_eq!(decision.advance(NOW).is_some(), tried < 2);
    }
    assert!(Arc::ptr_eq(decision.endpoint(), &ranked[2]));
}

#[test]
fn those_that_were_not_picked_follow_by_score() {
    let scheduler = scheduler("- type: queue-scorer\n- type: round-robin-picker");
    let pool = pool(4);
    for (endpoint, waiting) in pool.iter().zip([30, 20, 0, 10]) {
        endpoint.set_metrics(metrics(waiting, 0, 0.0));
    }
    let decision = decide(&scheduler, &request([]), &pool, &mut Chance::new(1));
    let ranked: Vec<_> = decision.ranked().map(|endpoint| endpoint.name()).collect();
    assert_eq!(ranked, ["engine-0", "engine-2", "engine-3", "engine-1"]);
    assert_eq!(decision.picked(), 1);
}

#[test]
fn a_filter_that_leaves_nobody_is_named() {
    let scheduler = scheduler("- type: decode-filter\n- type: prefill-filter\n- type: queue-scorer");
    let pool: Pool = pool(2)
        .iter()
        .map(|endpoint| {
            Endpoint::new(endpoint.name(), endpoint.address(), endpoint.worker()).with_labels([(ROLE_LABEL, "decode")])
        })
        .collect();
    let error = scheduler.decide(&request([]), &pool, NOW, &mut Chance::new(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert_eq!(error.to_string(), "filter prefill-filter of profile default leaves none of 2 endpoints");
    assert_eq!(in_flight(&pool), [(0, 0), (0, 0)]);
}

#[test]
fn what_may_be_refused_is_refused_while_everybody_is_full() {
    let yaml = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: random-picker\n\
                saturationDetector: {pluginRef: utilization-detector}\n";
    let scheduler = Scheduler::from_yaml(yaml).unwrap().build().unwrap();
    assert!(scheduler.needs().metrics);
    let pool = pool(2);
    let at = |waiting, priority| {
        for endpoint in pool.iter() {
            let mut said = metrics(waiting, 0, 0.0);
            said.updated = NOW;
            endpoint.set_metrics(said);
        }
        let request = request([]).with_priority(priority);
        scheduler.decide(&request, &pool, NOW, &mut Chance::new(1)).map(drop).map_err(|error| {
            let refusal = Refusal::of(&error).expect("it is refused");
            (refusal.status, refusal.reason)
        })
    };
    assert_eq!(at(4, -1), Ok(()));
    assert_eq!(at(5, -1), Err((429, None)), "llm-d gives no reason either");
    assert_eq!(at(5, 0), Ok(()));
}

#[test]
fn an_empty_pool_is_unavailable() {
    let error = scheduler("- type: queue-scorer").decide(&request([]), &pool(0), NOW, &mut Chance::new(1)).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unavailable, "no endpoint serves model model-1".into()));
}

/// Says that some endpoints are not a number.
#[derive(Debug)]
struct Nonsense(&'static [f64]);

impl Plugin for Nonsense {}

impl Scorer for Nonsense {
    fn score(&self, _: &Context<'_>, _: &Candidates<'_>, out: &mut [f64]) {
        out.copy_from_slice(&self.0[..out.len()]);
    }
}

fn by_hand(scores: &'static [f64], weight: f64, picker: Arc<dyn Picker>) -> Scheduler {
    let profile = Profile::new("p", "picker", picker).scorer("nonsense", weight, Arc::new(Nonsense(scores)));
    let components = Components::new("handler", Arc::new(SingleProfileHandler::default())).profile(profile);
    Scheduler::new(components).expect("its plugins fit together")
}

#[test]
fn what_is_not_a_number_never_wins() {
    let pickers: [Arc<dyn Picker>; 3] =
        [Arc::new(MaxScorePicker::new(1)), Arc::new(RandomPicker::new(1)), Arc::new(RoundRobinPicker::new(2))];
    for (picker, weight) in pickers.into_iter().flat_map(|picker| [(Arc::clone(&picker), 1.0), (picker, -1.0)]) {
        let scheduler = by_hand(&[f64::NAN, 0.4, f64::NAN], weight, picker);
        for seed in 0..16 {
            let decision = decide(&scheduler, &request([]), &pool(3), &mut Chance::new(seed));
            assert_eq!(decision.endpoint().name(), "engine-1");
            assert_eq!(decision.ranked().len(), 3);
        }
    }
}

#[test]
fn scores_are_clamped_before_they_are_weighed() {
    let scheduler = by_hand(&[5.0, -3.0, f64::INFINITY], 2.0, Arc::new(MaxScorePicker::new(1)));
    let explanation = decide(&scheduler, &request([]), &pool(3), &mut Chance::new(1)).explain();
    let mut totals: Vec<_> = explanation.profiles[0]
        .endpoints
        .iter()
        .filter_map(|endpoint| match endpoint.fate {
            Fate::Ranked { total, .. } => Some(total),
            _ => None,
        })
        .collect();
    totals.sort_by(f64::total_cmp);
    assert_eq!(totals, [0.0, 2.0, 2.0]);
}

#[test]
fn a_plugin_that_reads_from_nobody_is_refused() {
    #[derive(Debug)]
    struct Reader;
    impl Plugin for Reader {
        fn reads(&self) -> Vec<Data> {
            vec![Data::PrefixMatch("nobody".to_owned())]
        }
    }
    impl Scorer for Reader {
        fn score(&self, _: &Context<'_>, _: &Candidates<'_>, _: &mut [f64]) {}
    }
    let profile = Profile::new("p", "max", Arc::new(MaxScorePicker::new(1))).scorer("reader", 1.0, Arc::new(Reader));
    let components = Components::new("handler", Arc::new(SingleProfileHandler::default())).profile(profile);
    let error = Scheduler::new(components).unwrap_err();
    let message = "reader reads prefix matches of producer nobody, which is not there; producers: none";
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, message.to_owned()));
}

/// Runs every profile; the last decides.
#[derive(Debug)]
struct All;

impl Plugin for All {}

impl ProfileHandler for All {
    fn next(&self, _: &Context<'_>, profiles: &[String], ran: &[Ran]) -> Result<Option<usize>, Refusal> {
        Ok((ran.len() < profiles.len()).then_some(ran.len()))
    }

    fn primary(&self, ran: &[Ran]) -> usize {
        ran.len() - 1
    }
}

#[test]
fn a_request_counts_wherever_a_profile_sends_it() {
    let profile = |name, scores| {
        Profile::new(name, "max", Arc::new(MaxScorePicker::new(1))).scorer("scores", 1.0, Arc::new(Nonsense(scores)))
    };
    let components = Components::new("all", Arc::new(All))
        .profile(profile("prefill", &[1.0, 0.0]))
        .profile(profile("decode", &[0.0, 1.0]));
    let scheduler = Scheduler::new(components);
    let pool = pool(2);
    let mut decision = decide(&scheduler.unwrap(), &request([]), &pool, &mut Chance::new(1));

    assert_eq!(decision.endpoint().name(), "engine-1");
    assert_eq!(decision.endpoint_of("prefill").map(|endpoint| endpoint.name()), Some("engine-0"));
    assert_eq!(decision.endpoint_of("encode").map(|endpoint| endpoint.name()), None);
    assert_eq!(in_flight(&pool), [(1, 0), (1, 0)]);
    decision.end(NOW, &Usage::default());
    assert_eq!(in_flight(&pool), [(0, 0), (0, 0)]);
}

#[test]
fn a_session_comes_back_to_where_it_was() {
    let token = scheduler("- type: session-affinity-scorer");
    let (pool, mut chance) = (pool(8), Chance::new(1));
    let first = decide(&token, &request([]), &pool, &mut chance);
    let headers = first.headers();
    assert!(headers.get("x-session-token").is_some());

    let remembered = scheduler("- type: session-affinity-scorer\n  parameters: {strategy: session_id}");
    let session = Headers::from_iter([("x-session-id", "42")]);
    let bound = decide(&remembered, &request([]).with_headers(session.clone()), &pool, &mut chance);
    for _ in 0..16 {
        let again = decide(&token, &request([]).with_headers(headers.clone()), &pool, &mut chance);
        assert!(Arc::ptr_eq(again.endpoint(), first.endpoint()));
        let again = decide(&remembered, &request([]).with_headers(session.clone()), &pool, &mut chance);
        assert!(Arc::ptr_eq(again.endpoint(), bound.endpoint()));
    }
}

/// Writes down what it hears.
#[derive(Clone, Debug, Default)]
struct Witness(Arc<Mutex<Vec<String>>>);

impl Witness {
    fn heard(&self, what: impl Into<String>) {
        self.0.lock().push(what.into());
    }
}

impl Plugin for Witness {
    fn follow(&self, _: &Request, _: &Attributes) -> Option<Box<dyn Hooks>> {
        Some(Box::new(self.clone()))
    }
}

impl Scorer for Witness {
    fn score(&self, _: &Context<'_>, _: &Candidates<'_>, out: &mut [f64]) {
        out.copy_from_slice(&[1.0, 0.5]);
    }
}

impl Hooks for Witness {
    fn picked(&mut self, picked: &Picked<'_>) {
        self.heard(picked.endpoint.name());
    }

    fn first_token(&mut self, _: Duration) {
        self.heard("first token");
    }

    fn end(&mut self, _: Duration, _: &Usage) {
        self.heard("end");
    }

    fn abort(&mut self) {
        self.heard("abort");
    }
}

/// What a plugin that stands in two profiles hears of one request.
fn heard(of: impl FnOnce(Decision)) -> Vec<String> {
    let witness = Arc::new(Witness::default());
    let profile = |name| {
        let picker = Arc::new(MaxScorePicker::new(1));
        Profile::new(name, "max", picker).scorer("witness", 1.0, Arc::clone(&witness) as Arc<dyn Scorer>)
    };
    let components = Components::new("all", Arc::new(All)).profile(profile("first")).profile(profile("second"));
    let scheduler = Scheduler::new(components);
    let scheduler = scheduler.expect("its plugins fit together");
    of(decide(&scheduler, &request([]), &pool(2), &mut Chance::new(1)));
    witness.0.lock().clone()
}

#[test]
fn a_plugin_hears_each_thing_once_and_in_order() {
    let whole = heard(|mut decision| {
        decision.advance(NOW);
        decision.advance(NOW);
        decision.first_token(NOW);
        decision.first_token(NOW);
        decision.end(NOW, &Usage::default());
        decision.end(NOW, &Usage::default());
        decision.first_token(NOW);
        decision.advance(NOW);
    });
    assert_eq!(whole, ["engine-0", "engine-1", "first token", "end"]);
    assert_eq!(heard(drop), ["engine-0", "abort"]);
    let given_up = heard(|mut decision| {
        decision.abort();
        decision.abort();
        decision.end(NOW, &Usage::default());
        assert_eq!(decision.endpoint().in_flight().requests(), 0);
    });
    assert_eq!(given_up, ["engine-0", "abort"]);
}

#[test]
fn a_decision_goes_from_thread_to_thread() {
    fn free<T: Send + Sync>() {}
    free::<Decision>();
    free::<Scheduler>();
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Decide { tokens: u32 },
    Advance { nth: usize },
    FirstToken { nth: usize },
    End { nth: usize },
    Drop { nth: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..500_u32).prop_map(|tokens| Step::Decide { tokens }),
        2 => (0..32_usize).prop_map(|nth| Step::Advance { nth }),
        1 => (0..32_usize).prop_map(|nth| Step::FirstToken { nth }),
        1 => (0..32_usize).prop_map(|nth| Step::End { nth }),
        1 => (0..32_usize).prop_map(|nth| Step::Drop { nth }),
    ];
    proptest::collection::vec(step, 0..120)
}

const POLICIES: [&str; 4] = [
    "- type: active-request-scorer\n- type: token-load-scorer",
    "- type: prefix-cache-scorer\n- type: weighted-random-picker\n  parameters: {maxNumOfEndpoints: 3}",
    "- type: queue-scorer\n- type: random-picker\n  parameters: {maxNumOfEndpoints: 99}",
    "- type: round-robin-picker",
];

proptest! {
    /// Whatever happens to requests in whatever order, every candidate is ranked once, each request counts in one place
    /// while it lasts, and at the end nothing is in flight.
    #[test]
    fn counts_come_back_to_zero(
        steps in steps(), endpoints in 1..9_u32, policy in 0..POLICIES.len(), seed in any::<u64>(),
    ) {
        let (scheduler, pool, mut chance) = (scheduler(POLICIES[policy]), pool(endpoints), Chance::new(seed));
        let mut decisions: Vec<(Decision, bool)> = Vec::new();
        for step in steps {
            match step {
                Step::Decide { tokens } => {
                    let decision = decide(&scheduler, &request(0..tokens), &pool, &mut chance);
                    let mut ranked: Vec<_> = decision.ranked().map(|endpoint| endpoint.worker()).collect();
                    prop_assert!(decision.picked() >= 1 && decision.picked() <= ranked.len());
                    ranked.sort_unstable();
                    prop_assert_eq!(ranked, pool.iter().map(|endpoint| endpoint.worker()).collect::<Vec<_>>());
                    decisions.push((decision, true));
                }
                Step::Advance { nth } => {
                    let Some((decision, _)) = decisions.get_mut(nth) else { continue };
                    _ = decision.advance(NOW);
                }
                Step::FirstToken { nth } => {
                    let Some((decision, _)) = decisions.get_mut(nth) else { continue };
                    decision.first_token(NOW);
                }
                Step::End { nth } => {
                    let Some((decision, lasts)) = decisions.get_mut(nth) else { continue };
                    decision.end(NOW, &Usage::default());
                    *lasts = false;
                }
                Step::Drop { nth } => {
                    if nth < decisions.len() {
                        drop(decisions.swap_remove(nth));
                    }
                }
            }
            let lasting = decisions.iter().filter(|(_, lasts)| *lasts).count() as u64;
            prop_assert_eq!(in_flight(&pool).iter().map(|(requests, _)| requests).sum::<u64>(), lasting);
        }
        drop(decisions);
        prop_assert!(in_flight(&pool).iter().all(|&load| load == (0, 0)));
    }
}
