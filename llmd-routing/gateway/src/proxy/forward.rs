//! Passes a request on: to the endpoint that the scheduler chooses, and to the next when that one fails before its first
//! byte.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, request};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use llmd_routing::Decision;
use llmd_routing::plugin::Stage;

use super::account::Account;
use super::attempt::{Answer, Outgoing, attempt};
use super::body::Pieces;
use super::cached::Rewriting;
use super::fields::{Fields, without_forbidden};
use super::prompt::Kind;
use super::relay::{Passage, Relay};
use super::stages::{AfterPrefill, Staged};
use super::usage::Tail;
use super::{Proxy, headers};
use crate::answer::{Body, Refusal};
use crate::model::Model;
use crate::settings::CountTokens;

/// An answer that goes to the client.
struct Decoded {
    answer: Answer,
    attempts: usize,
    /// How many tokens of the prompt it is to say were cached; `None` where it says so itself.
    cached_tokens: Option<u64>,
}

/// A request for a model that is served.
struct Wanted {
    model: Model,
    request: llmd_routing::Request,
    outgoing: Outgoing,
}

impl Proxy {
    /// Answers a request that has a model in its body.
    pub(super) async fn forward(
        &self,
        id: &str,
        client: IpAddr,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let began = self.clock.now();
        let settings = &self.settings;
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            Refusal::unavailable(format!("{} requests are under way, and more are not taken", settings.limits.requests))
        })?;
        let (head, body) = request.into_parts();
        let body = Pieces::read(body, settings.limits.body_bytes, settings.timeouts.request_body).await?;
        let wanted = self.read(id, client, head, body.into_contiguous()).await?;

        let name = wanted.request.model.as_str();
        let mut account = Account::open(Arc::clone(&self.telemetry), name, self.clock.clone(), began);
        let refused = |account: &mut Account, refusal: Refusal| {
            account.fail(refusal.status.as_str());
            refusal
        };
        let (mut decision, took) = self.decide(&wanted).map_err(|refusal| refused(&mut account, refusal))?;
        let answered = self.stages(&wanted.outgoing, &mut decision, &account).await;
        let Decoded { answer, attempts, cached_tokens } = answered.map_err(|refusal| refused(&mut account, refusal))?;

        if answer.head.status.is_success() {
            decision.first_token(self.clock.now());
        }
        account.first_byte();
        let mut response = Response::new(());
        *response.status_mut() = answer.head.status;
        *response.headers_mut() = answer.head.headers.clone();
        headers::to_client(response.headers_mut());
        let rewriting = cached_tokens.and_then(|tokens| Rewriting::new(tokens, response.headers_mut()));
        add(response.headers_mut(), decision.headers().iter());
        if self.settings.debug {
            tell(response.headers_mut(), &decision, took, attempts);
        }
        if answer.head.status.is_server_error() {
            account.fail(answer.head.status.as_str());
        }
        let directory = Arc::clone(&self.directory);
        let succeeded = answer.head.status.is_success();
        let passage = Passage { succeeded, decision, account, directory, clock: self.clock.clone(), slot };
        let counts = settings.requests.count_tokens == CountTokens::Always || self.plan.needs().usage;
        let relay = Relay::new(answer, passage, settings.timeouts.between_bytes, counts.then(Tail::default), rewriting);
        Ok(response.map(|()| relay.boxed_unsync()))
    }

    /// What the request wants, and how it goes on.
    async fn read(&self, id: &str, client: IpAddr, head: request::Parts, body: Bytes) -> Result<Wanted, Refusal> {
        let fields = Fields::read(&body)?;
        let Some(name) = fields.model.as_deref().filter(|name| !name.is_empty()) else {
            return Err(Refusal::invalid(Some("model"), "the request's body names no model"));
        };
        let model = self.directory.snapshot().model(name).cloned().ok_or_else(|| self.no_model(name))?;

        let mut request = llmd_routing::Request::new(id, name)
            .with_headers(headers::for_scheduler(&head.headers, self.plan.needs().cookies))
            .with_namespace(model.namespace(fields.cache_salt.as_deref()))
            .with_priority(headers::priority(&head.headers, &self.settings.requests.objectives));
        request.tenant = self.tenant(&head.headers);
        if self.plan.needs().body {
            request.max_output_tokens = fields.max_output_tokens();
        }
        if self.plan.needs().tokens {
            match self.prompts.tokens(Kind::of(head.uri.path()), &fields).await {
                Ok(tokens) => request.tokens = tokens,
                Err(error) => {
                    tracing::debug!("request {id} is routed without tokens: {error}");
                    self.telemetry.tokenize_failed();
                }
            }
        }
        let forwarded = if fields.has_forbidden() { without_forbidden(&body)? } else { body.clone() };
        let mut headers = head.headers;
        headers::to_endpoint(&mut headers, client);
        let id = HeaderValue::from_str(id).expect("a request id is visible ASCII");
        headers.insert(headers::REQUEST_ID, id);
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Wanted { model, request, outgoing: Outgoing { method: head.method, path, headers, body: forwarded } })
    }

    /// Whose a request is, where the gateway is told.
    fn tenant(&self, headers: &HeaderMap) -> Option<String> {
        let header = self.settings.requests.tenant_header.as_deref()?;
        headers.get(header)?.to_str().ok().map(str::to_owned)
    }

    fn no_model(&self, name: &str) -> Refusal {
        let known: Vec<_> = self.directory.snapshot().models().map(|(name, _)| name.clone()).collect();
        Refusal::no_model(name, &known)
    }

    /// Chooses an endpoint, and says how long that took.
    fn decide(&self, wanted: &Wanted) -> Result<(Decision, Duration), Refusal> {
        let mut rng = self.chance.fork();
        let Wanted { model, request, .. } = wanted;
        let before = self.clock.now();
        let decision = model.served.scheduler.decide(request, &model.pool, before, &mut rng)?;
        let took = self.clock.now() - before;
        self.telemetry.decided(took);
        if let Some(decisions) = &self.decisions {
            decisions.remember(request, model, &decision);
        }
        Ok((decision, took))
    }

    /// Has a request prefilled, where that is done apart and the gateway sees to it, and then decoded.
    async fn stages(
        &self,
        outgoing: &Outgoing,
        decision: &mut Decision,
        account: &Account,
    ) -> Result<Decoded, Refusal> {
        match self.prefill(outgoing, decision, account).await? {
            AfterPrefill::Answered(answer, attempts) => Ok(Decoded { answer: *answer, attempts, cached_tokens: None }),
            AfterPrefill::Decode(Staged { outgoing, cached_tokens }) => {
                let (answer, attempts) = self.attempts(&outgoing, decision).await?;
                let cached_tokens = cached_tokens.filter(|_| answer.head.status.is_success());
                Ok(Decoded { answer, attempts, cached_tokens })
            }
        }
    }

    /// Tries endpoints in the order of their rank, until one begins to answer. Says how many were tried.
    async fn attempts(&self, outgoing: &Outgoing, decision: &mut Decision) -> Result<(Answer, usize), Refusal> {
        let Self { settings, clock, upstream, directory, telemetry, .. } = self;
        let mut attempts = 1;
        decision.sent(clock.now());
        loop {
            let endpoint = Arc::clone(decision.endpoint());
            let (patience, mut changes) = (settings.timeouts.first_byte, decision.request_headers());
            if self.connector.is_some() {
                // Nobody is to prefill it once more.
                changes.set = headers::without_prefiller(&changes.set);
            }
            let failure = match attempt(upstream, endpoint.address(), outgoing, &changes, patience, clock).await {
                Ok(answer) => {
                    directory.answered(&endpoint);
                    return Ok((answer, attempts));
                }
                Err(failure) => failure,
            };
            directory.failed(&endpoint);
            tracing::warn!("request {}: endpoint {endpoint} {failure}", outgoing.id());
            if attempts == settings.limits.attempts.max(1) || decision.advance(clock.now()).is_none() {
                return failure.into_answer(endpoint.name()).map(|answer| (answer, attempts));
            }
            telemetry.retried(endpoint.name(), failure.reason());
            attempts += 1;
        }
    }
}

/// What a decision says about itself, for those who debug. What is predicted is predicted of the endpoint that computes the prompt.
fn tell(headers: &mut HeaderMap, decision: &Decision, took: Duration, attempts: usize) {
    let prefill = decision.stage(Stage::Prefill);
    let predicted =
        prefill.as_ref().map_or_else(|| decision.predicted_hit_tokens(), |route| route.predicted_hit_tokens);
    let told = [
        ("x-llmd-endpoint", decision.endpoint().name().to_owned()),
        ("x-llmd-predicted-cached-tokens", predicted.to_string()),
        ("x-llmd-decision-us", format!("{:.1}", took.as_secs_f64() * 1e6)),
        ("x-llmd-attempts", attempts.to_string()),
    ];
    let prefiller = prefill.map(|route| ("x-llmd-prefill-endpoint", route.endpoint.name().to_owned()));
    add(headers, told.iter().chain(&prefiller).map(|(name, value)| (*name, value.as_str())));
}

fn add<'a>(headers: &mut HeaderMap, more: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, value) in more {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
}
