//! Sessions: what names them, and where they go.

use std::time::Duration;

use llmd_routing::testing::{Chance, pool, request};
use llmd_routing::{Headers, Pool, Request, Scheduler};

const NOW: Duration = Duration::from_secs(1);

fn scheduler(plugins: &str) -> Scheduler {
    let yaml = format!("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n{plugins}");
    let builder = Scheduler::from_yaml(&yaml).expect("the configuration reads");
    builder.allow_experimental(true).build().expect("its plugins fit together")
}

fn with(header: &'static str, value: &str) -> Request {
    request([]).with_headers(Headers::from_iter([(header, value)]))
}

/// Whether requests of these two sorts go to one endpoint, each time that they are sent.
fn stay_together(scheduler: &Scheduler, pool: &Pool, first: &Request, second: &Request) -> bool {
    let mut chance = Chance::new(7);
    let mut home = |request| {
        scheduler.decide(request, pool, NOW, &mut chance).expect("somebody is there").endpoint().name().to_owned()
    };
    (0..16).all(|_| home(first) == home(second))
}

const BY: &str = "
- type: session-affinity-filter
  parameters: {strategy: session_id, sessionIdConfig: {sources: SOURCES}}
";

#[test]
fn an_agent_is_a_session_by_whatever_header_it_says_who_it_is() {
    let by = format!("- type: agent-identity{}", BY.replace("SOURCES", "[{attribute: agent-identity}]"));
    let (scheduler, pool) = (scheduler(&by), pool(8));
    let decision = scheduler.decide(&with("session_id", "a"), &pool, NOW, &mut Chance::new(1)).unwrap();
    assert_eq!(decision.attribute("agent-identity"), Some("a"));
    assert!(stay_together(&scheduler, &pool, &with("session_id", "a"), &with("x-claude-code-session-id", "a")));
    assert!(!stay_together(&scheduler, &pool, &with("x-session-id", "a"), &with("x-session-id", "a")));
}

#[test]
fn a_cookie_names_a_session_where_a_header_does_not() {
    let sources = "[{header: x-id}, {attribute: session-id, producer: by-cookie}]";
    let producer = "- {type: session-id-producer, name: by-cookie, parameters: {cookieName: sid}}";
    let (scheduler, pool) = (scheduler(&format!("{producer}{}", BY.replace("SOURCES", sources))), pool(8));
    assert!(stay_together(&scheduler, &pool, &with("cookie", "a=1; sid=b"), &with("x-id", "b")));
    assert!(!stay_together(&scheduler, &pool, &with("cookie", "sidb"), &with("cookie", "sidb")));
}

#[test]
fn tenants_do_not_share_a_session_by_its_name() {
    let (scheduler, pool) = (scheduler(&BY.replace("SOURCES", "[{header: x-id}]")), pool(8));
    let of = |tenant: &str| with("x-id", "s").of_tenant(tenant);
    assert!(stay_together(&scheduler, &pool, &of("a"), &of("a")));
    let homes = (0..16).map(|tenant| {
        let decision = scheduler.decide(&of(&tenant.to_string()), &pool, NOW, &mut Chance::new(tenant)).unwrap();
        decision.endpoint().name().to_owned()
    });
    assert!(homes.collect::<std::collections::BTreeSet<_>>().len() > 1);
}
