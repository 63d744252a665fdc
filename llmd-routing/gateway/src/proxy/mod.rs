//! The OpenAI-shaped front: which path does what, and what every answer has in common.

mod account;
mod attempt;
mod body;
mod cached;
mod fields;
mod forward;
mod headers;
mod prompt;
mod relay;
mod stages;
mod usage;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use llmd_routing::connector::Connector;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::Semaphore;

use self::prompt::Prompts;
pub(crate) use self::stages::connector;
use crate::answer::{Body, Refusal, full, json_response, text_response};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::collector::StateCollector;
use crate::debug::Decisions;
use crate::model::{Directory, Surroundings};
use crate::plan::Plan;
use crate::settings::Settings;
use crate::telemetry::{CONTENT_TYPE as METRICS_TYPE, Telemetry, exposition};
use crate::upstream::Upstream;

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Proxy {
    settings: Arc<Settings>,
    plan: Arc<Plan>,
    clock: Clock,
    chance: Chance,
    upstream: Upstream,
    telemetry: Arc<Telemetry>,
    registry: Registry,
    directory: Arc<Directory>,
    prompts: Prompts,
    /// By which the gateway sees to the stages of a request itself; without one, sidecars do.
    connector: Option<Box<dyn Connector>>,
    /// One permit per request under way.
    slots: Arc<Semaphore>,
    draining: AtomicBool,
    /// Only when debugging.
    decisions: Option<Decisions>,
}

impl Proxy {
    pub(crate) fn new(around: Surroundings, directory: Arc<Directory>, connector: Option<Box<dyn Connector>>) -> Self {
        let Surroundings { settings, plan, clock, upstream, telemetry, .. } = around;
        let mut registry = Registry::with_prefix("llmd");
        telemetry.register(&mut registry);
        registry.register_collector(Box::new(StateCollector::new(Arc::clone(&directory))));
        let limits = &settings.limits;
        Self {
            chance: Chance::new(settings.seed),
            prompts: Prompts::new(plan.token_source(), limits.tokenizers),
            slots: Arc::new(Semaphore::new(limits.requests)),
            decisions: settings.debug.then(|| Decisions::new(limits.decisions)),
            draining: AtomicBool::new(false),
            connector,
            settings,
            plan,
            clock,
            upstream,
            telemetry,
            registry,
            directory,
        }
    }

    /// From now on `/ready` says no.
    pub(crate) fn drain(&self) {
        // Relaxed: nothing else is published by it.
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers one request. Every answer says the request's id.
    pub(crate) async fn answer(&self, client: IpAddr, request: Request<Incoming>) -> Response<Body> {
        let id = headers::request_id(request.headers()).map_or_else(|| self.chance.id(), str::to_owned);
        let answer = self.route(&id, client, request).await;
        let mut response = answer.unwrap_or_else(|refusal| {
            tracing::debug!("request {id} is refused: {refusal}");
            refusal.into_response()
        });
        let id = HeaderValue::from_str(&id).expect("a request id is visible ASCII");
        response.headers_mut().insert(headers::REQUEST_ID, id);
        response
    }

    async fn route(&self, id: &str, client: IpAddr, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let path = request.uri().path();
        let allowed = match path {
            "/health" | "/ready" | "/metrics" | "/v1/models" => "GET, HEAD, OPTIONS",
            _ if path.starts_with("/v1/") => "POST, OPTIONS",
            _ if self.settings.debug && path.starts_with("/debug/") => "GET, HEAD, OPTIONS",
            _ => return Err(Refusal::no_path(path)),
        };
        match *request.method() {
            Method::OPTIONS => Ok(options(allowed)),
            Method::POST if allowed.starts_with("POST") => {
                let answer = self.forward(id, client, request).await;
                answer.inspect_err(|refusal| self.telemetry.refused(refusal.status.as_u16()))
            }
            Method::GET | Method::HEAD if allowed.starts_with("GET") => self.tell(path).await,
            _ => Err(Refusal::wrong_method(allowed)),
        }
    }

    /// What the gateway says about itself.
    async fn tell(&self, path: &str) -> Result<Response<Body>, Refusal> {
        match path {
            "/health" => Ok(text_response(StatusCode::OK, "ok\n")),
            "/ready" => self.ready(),
            "/metrics" => {
                let mut response = Response::new(full(exposition(&self.registry)));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
                Ok(response)
            }
            "/v1/models" => Ok(self.models()),
            _ => crate::debug::tell(&self.directory.snapshot(), self.decisions.as_ref(), path).await,
        }
    }

    fn ready(&self) -> Result<Response<Body>, Refusal> {
        // Relaxed: as above.
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refusal::unavailable("the gateway is stopping"));
        }
        match self.directory.snapshot().unready() {
            Some(why) => Err(Refusal::unavailable(why)),
            None => Ok(text_response(StatusCode::OK, "ready\n")),
        }
    }

    fn models(&self) -> Response<Body> {
        let snapshot = self.directory.snapshot();
        let models = snapshot.models().map(|(name, model)| {
            json!({"id": name, "object": "model", "created": 0, "owned_by": "llmd", "parent": model.base()})
        });
        json_response(StatusCode::OK, &json!({"object": "list", "data": models.collect::<Vec<_>>()}))
    }
}

fn options(allowed: &'static str) -> Response<Body> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
