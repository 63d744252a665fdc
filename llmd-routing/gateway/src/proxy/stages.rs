//! Has a request prefilled at one endpoint and decoded at another, by the connector that both have.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::ACCEPT_ENCODING;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use llmd_core::{Error, ErrorKind, Result};
use llmd_routing::connector::{Api, ClientParams, Connector, Handover, Kv, Leg, Original, by_name};
use llmd_routing::plugin::{HeaderChanges, Stage};
use llmd_routing::{Decision, NextStep};

use super::account::Account;
use super::attempt::{Answer, Failure, Outgoing, attempt};
use super::{Proxy, headers};
use crate::answer::Refusal;
use crate::settings::Disaggregation;
use crate::upstream::because;

/// The connectors whose stages follow one another, whatever the request says.
const DRIVEN: [&str; 4] = ["kv-nixl", "kv-shared-storage", "llmd", "nixlv2"];

/// The connector by which the gateway sees to stages itself; `None` where sidecars do.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] for a connector whose stages it cannot see to, or that nobody knows.
pub(crate) fn connector(settings: &Disaggregation) -> Result<Option<Box<dyn Connector>>> {
    let Some(name) = settings.connector.as_deref() else { return Ok(None) };
    if !DRIVEN.contains(&name) {
        let message = format!("connector `{name}`: the gateway sees to the stages of {}", DRIVEN.join(", "));
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    by_name(name).map(Some)
}

/// A request as it goes to the endpoint that decodes, and what its answer is to say.
pub(super) struct Staged<'o> {
    pub(super) outgoing: Cow<'o, Outgoing>,
    /// How many tokens of the prompt were cached where it was prefilled.
    pub(super) cached_tokens: Option<u64>,
}

/// What becomes of a request after its prefill.
pub(super) enum AfterPrefill<'o> {
    /// Another endpoint decodes it, or does all of it.
    Decode(Staged<'o>),
    /// Its prefill was answered with an error that is the client's: nobody decodes it.
    Answered(Box<Answer>, usize),
}

/// A prefill that was answered well.
struct Prefilled {
    body: Bytes,
    headers: Vec<(HeaderName, HeaderValue)>,
    kv: Kv,
    cached_tokens: Option<u64>,
}

impl Proxy {
    /// Has a request prefilled where its decision says that this is done elsewhere, and says how it goes on. Where nobody can
    /// prefill it, the endpoint that decodes does both, unless the configuration refuses that.
    pub(super) async fn prefill<'o>(
        &self,
        outgoing: &'o Outgoing,
        decision: &mut Decision,
        account: &Account,
    ) -> Result<AfterPrefill<'o>, Refusal> {
        let whole = || AfterPrefill::Decode(Staged { outgoing: Cow::Borrowed(outgoing), cached_tokens: None });
        let Some(connector) = self.connector.as_deref() else { return Ok(whole()) };
        let api = Api::from_path(outgoing.path.path());
        self.telemetry.staged(account.labels(), api.is_some() && is_apart(decision));
        let Some(api) = api else { return Ok(whole()) };
        let original = Original::parse(api, &outgoing.body, ClientParams::Removed)
            .map_err(|error| Refusal::invalid(None, error.to_string()))?;
        // What pairs two engines is used once, which what clients call their requests need not be.
        let id = format!("{}-{}", outgoing.id(), self.chance.id());
        let began = self.clock.now();
        decision.sent(began);
        let mut attempts = 0;
        let decoder = Arc::clone(decision.endpoint());
        loop {
            let route = decision.stage(Stage::Prefill);
            let Some((endpoint, rank, deadline)) =
                route.map(|route| (Arc::clone(route.endpoint), route.rank, route.deadline))
            else {
                return Ok(whole());
            };
            if endpoint.address() == decoder.address() {
                return Ok(whole());
            }
            let patience = deadline.unwrap_or(self.settings.timeouts.first_byte);
            let handover = Handover::new(&id, endpoint.address()).with_decoder(decoder.address());
            let handover = rank.map_or(handover, |rank| handover.with_rank(rank));
            let changes = to_prefiller(decision, rank);
            let stage = ToPrefiller { connector, original: &original, handover, changes, outgoing, patience };
            attempts += 1;
            let failure = match self.prefill_at(&stage).await {
                Ok(Answered::Well(prefilled)) => {
                    self.directory.answered(&endpoint);
                    decision.stage_done(Stage::Prefill);
                    self.telemetry.prefilled(self.clock.now() - began);
                    if prefilled.kv == Kv::Recomputed {
                        tracing::warn!("request {}: endpoint {endpoint} handed nothing over", outgoing.id());
                    }
                    return Ok(AfterPrefill::Decode(prefilled.staged(outgoing)));
                }
                Ok(Answered::WithError(answer)) => {
                    self.directory.answered(&endpoint);
                    return Ok(AfterPrefill::Answered(answer, attempts));
                }
                Err(failure) => failure,
            };
            self.directory.failed(&endpoint);
            tracing::warn!("request {}: prefill: endpoint {endpoint} {failure}", outgoing.id());
            match self.next_prefill(decision, attempts) {
                NextStep::Retry(_) => self.telemetry.retried(endpoint.name(), failure.reason()),
                NextStep::Without => self.telemetry.prefill_fell_back(account.labels(), failure.reason()),
                _ => {
                    let answer = failure.into_answer(endpoint.name())?;
                    return Ok(AfterPrefill::Answered(Box::new(answer), attempts));
                }
            }
        }
    }

    /// The next endpoint that prefills, unless as many were tried as may be.
    fn next_prefill(&self, decision: &mut Decision, attempts: usize) -> NextStep {
        loop {
            let next = decision.stage_failed(Stage::Prefill, self.clock.now());
            if !matches!(next, NextStep::Retry(_)) || attempts < self.settings.limits.attempts.max(1) {
                return next;
            }
        }
    }

    async fn prefill_at(&self, stage: &ToPrefiller<'_>) -> Result<Answered, Failure> {
        let ToPrefiller { connector, original, handover, changes, outgoing, patience } = stage;
        let useless = |error: Error| Failure::Useless(error.to_string());
        let leg = connector.prefill(original, handover).map_err(useless)?;
        let mut asked = Outgoing { body: leg.body.to_json().into(), ..(*outgoing).clone() };
        let added = headers_of(&leg);
        set(&mut asked, &added);
        let deadline = self.clock.now() + *patience;
        let answer = attempt(&self.upstream, handover.prefiller, &asked, changes, *patience, &self.clock).await?;
        let status = answer.head.status;
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Failure::Status(Box::new(answer)));
        }
        if !status.is_success() {
            return Ok(Answered::WithError(Box::new(answer)));
        }
        let limit = self.settings.limits.prefill_bytes;
        let response = tokio::select! {
            response = collect(answer, limit) => response?,
            () = self.clock.sleep_until(deadline) => return Err(Failure::Timeout(*patience)),
        };
        let decode = connector.decode(original, handover, Some(&response)).map_err(useless)?;
        Ok(Answered::Well(Prefilled {
            body: decode.leg.body.to_json().into(),
            headers: headers_of(&decode.leg),
            kv: decode.kv,
            cached_tokens: decode.cached_tokens,
        }))
    }
}

/// Whether another endpoint prefills than decodes. One that was chosen for both has nothing to hand over.
fn is_apart(decision: &Decision) -> bool {
    decision.stage(Stage::Prefill).is_some_and(|route| route.endpoint.address() != decision.endpoint().address())
}

/// One try of a prefill.
struct ToPrefiller<'a> {
    connector: &'a dyn Connector,
    original: &'a Original<'a>,
    handover: Handover<'a>,
    changes: HeaderChanges,
    outgoing: &'a Outgoing,
    patience: Duration,
}

enum Answered {
    Well(Prefilled),
    WithError(Box<Answer>),
}

impl Prefilled {
    fn staged(self, outgoing: &Outgoing) -> Staged<'static> {
        let mut decoded = Outgoing { body: self.body, ..outgoing.clone() };
        set(&mut decoded, &self.headers);
        Staged { outgoing: Cow::Owned(decoded), cached_tokens: self.cached_tokens }
    }
}

/// What the decision asks of headers, for the endpoint that prefills: it is told of no other, and of its own rank.
fn to_prefiller(decision: &Decision, rank: Option<u32>) -> HeaderChanges {
    let mut changes = decision.request_headers();
    changes.destination = None;
    changes.set = headers::without_routing(&changes.set);
    if let Some(rank) = rank {
        changes.set.insert(headers::RANK, rank.to_string());
    }
    changes
}

fn headers_of(leg: &Leg<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let header = |(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?));
    leg.headers.iter().filter_map(header).collect()
}

/// Sets what the connector says. What comes back is read, so that it must not be compressed.
fn set(outgoing: &mut Outgoing, added: &[(HeaderName, HeaderValue)]) {
    outgoing.headers.remove(ACCEPT_ENCODING);
    for (name, value) in added {
        outgoing.headers.insert(name, value.clone());
    }
}

/// All of an answer.
async fn collect(answer: Answer, limit: usize) -> Result<Bytes, Failure> {
    let Answer { first, mut rest, .. } = answer;
    let mut whole = BytesMut::new();
    let mut next = first.map(Ok);
    loop {
        let Some(frame) = next else { return Ok(whole.freeze()) };
        let frame = frame.map_err(|error: hyper::Error| Failure::Reset(because(&error)))?;
        if let Ok(piece) = frame.into_data() {
            if piece.len() > limit - whole.len() {
                return Err(Failure::Useless(format!("it is longer than {limit} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        next = rest.frame().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connectors_whose_stages_follow_one_another_are_taken() {
        let taken = |name: Option<&str>| {
            let connector = connector(&Disaggregation { connector: name.map(str::to_owned) });
            connector.map(|connector| connector.map(|connector| connector.name())).map_err(|error| error.to_string())
        };
        assert_eq!(taken(None), Ok(None));
        for name in DRIVEN {
            assert_eq!(taken(Some(name)), Ok(Some(name)));
        }
        for name in ["mooncake", "shared-storage", "none"] {
            let expected = format!(
                "connector `{name}`: the gateway sees to the stages of kv-nixl, kv-shared-storage, llmd, nixlv2"
            );
            assert_eq!(taken(Some(name)), Err(expected));
        }
    }
}
