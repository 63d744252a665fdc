//! The HTTP side: which path does what.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::answer::{AnswerBody, Api, answer, json_answer};
use super::debug;
use super::driver::Command;
use super::generate::generate;
use super::refusal::Refusal;
use super::server::Server;
use super::tokenize::tokenize;

/// Bytes that a request may have.
const MAX_BODY: usize = 64 << 20;
/// What `/version` says: the vLLM whose interfaces these are, and that it is none.
const VERSION: &str = "0.32.0+llmd.simulated";

/// Accepts connections for ever.
pub(super) async fn serve(listener: TcpListener, server: Arc<Server>) {
    let http = hyper::server::conn::http1::Builder::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        _ = stream.set_nodelay(true);
        let server = Arc::clone(&server);
        let service = hyper::service::service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(respond(&server, request).await) }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        // A client that goes away ends its connection with an error, which is no concern of the engine's.
        tokio::spawn(async move { _ = connection.await });
    }
}

async fn respond(server: &Arc<Server>, request: Request<Incoming>) -> Response<AnswerBody> {
    let (head, body) = request.into_parts();
    let answered = match (&head.method, head.uri.path()) {
        (&Method::GET, "/health" | "/ping") => Ok(answer(StatusCode::OK, "application/json", "")),
        (&Method::GET, "/version") => Ok(json_answer(StatusCode::OK, &json!({ "version": VERSION }))),
        (&Method::GET, "/v1/models") => Ok(json_answer(StatusCode::OK, &models(server))),
        (&Method::GET, "/metrics") => Ok(metrics(server)),
        (&Method::GET, "/kv_event_sources") => Ok(json_answer(StatusCode::OK, &server.kv_event_sources())),
        (&Method::GET, "/debug/cache") => debug::cache(server).await,
        (&Method::POST, "/debug/faults") => read(body).await.and_then(|body| debug::faults(server, &body)),
        (&Method::POST, "/debug/pause") => read(body).await.and_then(|body| debug::pause(server, &body)),
        (&Method::POST, "/reset_prefix_cache") => reset(server, head.uri.query().unwrap_or_default()).await,
        (&Method::POST, "/tokenize") => tokenize(server, read(body).await).await,
        (&Method::POST, "/v1/completions") => generate(server, &head.headers, Api::Completions, read(body).await).await,
        (&Method::POST, "/v1/chat/completions") => generate(server, &head.headers, Api::Chat, read(body).await).await,
        _ => Ok(json_answer(StatusCode::NOT_FOUND, &json!({ "detail": "Not Found" }))),
    };
    answered.unwrap_or_else(|refusal| refusal.answer())
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(Refusal::bad("body", format!("the body cannot be read: {error}"))),
    }
}

fn models(server: &Server) -> Value {
    let model = |name: &str, root: &str, parent: Option<&str>| {
        json!({
            "id": name, "object": "model", "created": server.created, "owned_by": "vllm", "root": root, "parent": parent,
            "max_model_len": server.settings.max_model_len,
        })
    };
    let base = &server.model;
    let adapters = server.adapters.iter().map(|adapter| {
        model(&adapter.lora.name, adapter.lora.path.as_deref().unwrap_or(&adapter.lora.name), Some(base))
    });
    let all: Vec<Value> = std::iter::once(model(base, base, None)).chain(adapters).collect();
    json!({ "object": "list", "data": all })
}

fn metrics(server: &Server) -> Response<AnswerBody> {
    let kv = server.kv.as_ref().map(|kv| kv.counts());
    let text = server.counts.lock().render(&server.model, &server.settings, kv.as_ref());
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// Forgets the cache; with `?reset_running_requests=true` even while requests run, which begin again.
async fn reset(server: &Server, query: &str) -> Result<Response<AnswerBody>, Refusal> {
    let running_too = query.split('&').any(|pair| pair == "reset_running_requests=true");
    let (done, answered) = oneshot::channel();
    server.command(Command::Reset { running_too, done })?;
    let success = answered.await.map_err(|_| Server::gone())?;
    Ok(json_answer(StatusCode::OK, &json!({ "success": success })))
}
