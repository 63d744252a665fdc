//! Keeps endpoints, models, schedulers and subscriptions in step with what was discovered and learnt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use llmd_core::WorkerId;
use llmd_routing::Endpoint;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::learn::learn;
use super::member::{Learned, Member};
use super::served::Served;
use super::snapshot::Snapshot;
use super::wanted::{Wanted, Watched};
use crate::clock::Clock;
use crate::discovery::EndpointEntry;
use crate::events::EngineSaid;
use crate::plan::Plan;
use crate::scrape::scrape;
use crate::settings::Settings;
use crate::telemetry::Telemetry;
use crate::upstream::Upstream;

/// What the directory and its tasks work with.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) settings: Arc<Settings>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) clock: Clock,
    pub(crate) upstream: Upstream,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) tasks: TaskTracker,
    /// Cancelled when everything is to end.
    pub(crate) stop: CancellationToken,
}

/// Every endpoint, and who serves what. Whatever changes goes through here, and ends in a new [`Snapshot`].
#[derive(Debug)]
pub(crate) struct Directory {
    around: Surroundings,
    state: Mutex<State>,
    snapshot: ArcSwap<Snapshot>,
}

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<String, Arc<Member>>,
    served: BTreeMap<String, Arc<Served>>,
    watched: Watched,
    /// Workers are numbered once and for all: a number that came back could meet what is still known of its last owner.
    next_worker: u32,
}

impl Directory {
    pub(crate) fn new(around: Surroundings) -> Arc<Self> {
        Arc::new(Self { around, state: Mutex::default(), snapshot: ArcSwap::default() })
    }

    /// Who serves what, now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Takes the list of endpoints as it is now. An endpoint that stays at its address keeps its counters, its worker and
    /// what was learnt about it, whatever else of it changes; requests at an endpoint that is gone go on to their end.
    pub(crate) fn list(self: &Arc<Self>, entries: Vec<EndpointEntry>) {
        let mut state = self.state.lock();
        let mut before = std::mem::take(&mut state.members);
        for entry in entries {
            let name = entry.full_name();
            let member = match before.remove(&name) {
                Some(member) if member.entry == entry => member,
                Some(member) if member.is_at(&entry) => self.replace(&member, entry),
                other => {
                    other.inspect(|member| member.gone.cancel());
                    self.admit(&mut state, entry)
                }
            };
            state.members.insert(name, member);
        }
        for (name, member) in before {
            tracing::info!("endpoint {} is listed no longer", member.endpoint);
            member.gone.cancel();
            self.around.telemetry.forget_endpoint(&name);
        }
        self.reconcile(&mut state);
    }

    /// Takes what an endpoint said about itself.
    pub(super) fn learnt(&self, member: &Member, learned: Learned) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut *member.learned.lock(), learned.clone()) != learned {
            self.reconcile(&mut state);
        }
    }

    /// Takes what an engine said by which its event stream is judged.
    pub(super) fn engine_said(&self, member: &Member, said: EngineSaid) {
        for events in self.snapshot.load().served().filter_map(|served| served.events.as_ref()) {
            events.subscriptions.engine_said(member.endpoint.worker(), said);
        }
    }

    /// A request failed at an endpoint before its end, through no fault of the client's. At one that is listed no longer,
    /// failures do not matter.
    pub(crate) fn failed(self: &Arc<Self>, endpoint: &Endpoint) {
        let Some(member) = self.member_of(endpoint) else { return };
        let Some(alone) = member.health.lock().failed(&self.around.settings.ejection) else { return };
        tracing::warn!("endpoint {} keeps failing: it is left alone for {alone:?}", member.endpoint);
        self.around.telemetry.ejected(member.name());
        let mut state = self.state.lock();
        self.reconcile(&mut state);
        // Another member may have taken its place meanwhile, with the same health.
        let current = state.members.get(member.name()).filter(|other| Arc::ptr_eq(&other.health, &member.health));
        if let Some(current) = current {
            self.take_back(current, alone);
        }
    }

    /// Lets an endpoint have requests again when it has been alone for long enough and is healthy.
    fn take_back(self: &Arc<Self>, member: &Arc<Member>, alone: Duration) {
        self.spawn(member, |directory, member| async move {
            directory.probe(&member, alone).await;
            member.health.lock().restored();
            tracing::info!("endpoint {} answers again", member.endpoint);
            directory.reconcile(&mut directory.state.lock());
        });
    }

    /// A request was answered at an endpoint.
    pub(crate) fn answered(&self, endpoint: &Endpoint) {
        if let Some(member) = self.member_of(endpoint) {
            member.health.lock().answered();
        }
    }

    fn member_of(&self, endpoint: &Endpoint) -> Option<Arc<Member>> {
        let snapshot = self.snapshot.load();
        snapshot.member(endpoint.name()).filter(|member| member.endpoint.worker() == endpoint.worker()).cloned()
    }

    /// Waits until an endpoint has been alone for long enough, and is healthy.
    async fn probe(&self, member: &Member, alone: Duration) {
        let Surroundings { settings, clock, upstream, .. } = &self.around;
        clock.sleep_until(clock.now() + alone).await;
        while let Err(error) = upstream.get(member.endpoint.address(), "/health").await {
            tracing::debug!("endpoint {} is not healthy: {error}", member.endpoint);
            clock.sleep_until(clock.now() + settings.ejection.probe_interval).await;
        }
    }

    fn admit(self: &Arc<Self>, state: &mut State, entry: EndpointEntry) -> Arc<Member> {
        let worker = WorkerId(state.next_worker);
        state.next_worker += 1;
        let endpoint = Endpoint::new(entry.full_name(), entry.authority(), worker).with_labels(entry.labels.clone());
        self.begin(Member::new(entry, endpoint, Arc::default(), Arc::default(), self.around.stop.child_token()))
    }

    fn replace(self: &Arc<Self>, member: &Member, entry: EndpointEntry) -> Arc<Member> {
        let before = &member.endpoint;
        let endpoint = Endpoint::new(entry.full_name(), entry.authority(), before.worker())
            .with_labels(entry.labels.clone())
            .with_in_flight(Arc::clone(before.in_flight()));
        if let Some(metrics) = before.metrics() {
            endpoint.set_metrics((*metrics).clone());
        }
        member.gone.cancel();
        let gone = self.around.stop.child_token();
        self.begin(Member::new(entry, endpoint, Arc::clone(&member.health), Arc::clone(&member.learned), gone))
    }

    /// Looks at a new member from now on, until it is gone.
    fn begin(self: &Arc<Self>, member: Member) -> Arc<Member> {
        let member = Arc::new(member);
        self.spawn(&member, |directory, member| async move { learn(&directory, &directory.around, &member).await });
        if member.is_ejected() {
            self.take_back(&member, self.around.settings.ejection.base);
        }
        if self.around.plan.needs().metrics {
            let Surroundings { settings, clock, upstream, telemetry, .. } = self.around.clone();
            let endpoint = Arc::clone(&member.endpoint);
            self.spawn(&member, |_, _| scrape(endpoint, upstream, settings.polling.clone(), clock, telemetry));
        }
        member
    }

    /// Runs a task that ends when the member is gone.
    fn spawn<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        member: &Arc<Member>,
        task: impl FnOnce(Arc<Self>, Arc<Member>) -> F,
    ) {
        let gone = member.gone.clone();
        let task = task(Arc::clone(self), Arc::clone(member));
        self.around.tasks.spawn(gone.run_until_cancelled_owned(task));
    }

    /// Makes schedulers, subscriptions and the snapshot what they must be, given members and what was learnt.
    fn reconcile(&self, state: &mut State) {
        let State { members, served, watched, .. } = state;
        let wanted = Wanted::by(members.values(), self.around.settings.limits.models);
        wanted.serve(served, &self.around);
        wanted.follow(served, watched);
        self.snapshot.store(Arc::new(wanted.snapshot(served, members)));
    }
}
