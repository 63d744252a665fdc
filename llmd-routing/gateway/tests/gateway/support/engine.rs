//! An engine that does what a test tells it to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use llmd_gateway::EndpointEntry;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What an engine does with a request.
pub(crate) enum Act {
    /// Answers with this status and body.
    Answer(u16, String),
    /// Answers as its other half says, piece by piece.
    Stream(mpsc::UnboundedReceiver<Piece>),
    /// Closes the connection without a word.
    Die,
    /// Sends the head of an answer, and closes the connection before the body.
    DieAfterHead,
    /// Says nothing.
    Hang,
}

/// One piece of a streamed answer; an error breaks the connection.
type Piece = Result<Bytes, &'static str>;

/// The half of a stream that a test holds. Dropped, the stream ends.
pub(crate) struct Stream(mpsc::UnboundedSender<Piece>);

impl Stream {
    /// Both halves.
    pub(crate) fn new() -> (Self, Act) {
        let (send, receive) = mpsc::unbounded_channel();
        (Self(send), Act::Stream(receive))
    }

    pub(crate) fn send(&self, piece: &str) {
        self.0.send(Ok(Bytes::copy_from_slice(piece.as_bytes()))).expect("the stream is read");
    }

    pub(crate) fn break_off(&self) {
        self.0.send(Err("the engine broke off")).expect("the stream is read");
    }
}

/// A request that an engine got.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Behaviour = dyn Fn(&Seen) -> Act + Send + Sync;

/// An engine. Dropped, it is gone, with its connections.
pub(crate) struct Engine {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    behaviour: Box<Behaviour>,
    models: Mutex<Value>,
    metrics: Mutex<String>,
    event_sources: Mutex<Value>,
    healthy: std::sync::atomic::AtomicBool,
    seen: Mutex<Vec<Seen>>,
    /// Requests whose answer is under way.
    under_way: AtomicUsize,
    probes: AtomicUsize,
    scrapes: AtomicUsize,
}

impl Engine {
    /// An engine that serves model `m` and behaves like this.
    pub(crate) async fn start(behaviour: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), behaviour).await
    }

    /// The same, at an address that an engine had before.
    pub(crate) async fn start_at(
        address: SocketAddr,
        behaviour: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behaviour: Box::new(behaviour),
            models: Mutex::new(json!({"data": [{"id": "m"}]})),
            metrics: Mutex::default(),
            event_sources: Mutex::new(json!({})),
            healthy: true.into(),
            seen: Mutex::default(),
            under_way: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            scrapes: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, Arc::clone(&shared), stop.clone())));
        Self { address, shared, _stop: stop.drop_guard() }
    }

    /// An engine that answers every completion at once.
    pub(crate) async fn well() -> Self {
        Self::start(|_| completion()).await
    }

    /// An address at which nobody listens.
    pub(crate) async fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// This engine as an entry of a list.
    pub(crate) fn entry(&self, name: &str) -> EndpointEntry {
        entry(name, self.address)
    }

    /// The same, serving these models instead of `m`; an entry is a name, or a name and its parent.
    pub(crate) fn set_models(&self, models: &[(&str, Option<&str>)]) {
        let models: Vec<_> = models.iter().map(|(id, parent)| json!({"id": id, "parent": parent})).collect();
        *self.shared.models.lock() = json!({ "data": models });
    }

    pub(crate) fn set_metrics(&self, metrics: &str) {
        *self.shared.metrics.lock() = metrics.to_owned();
    }

    /// What it says about where it publishes KV events.
    pub(crate) fn set_event_sources(&self, sources: Value) {
        *self.shared.event_sources.lock() = sources;
    }

    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, Ordering::SeqCst);
    }

    /// The completions that it was asked for.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// How many of them it works on.
    pub(crate) fn under_way(&self) -> usize {
        self.shared.under_way.load(Ordering::SeqCst)
    }

    /// How often its health was asked for.
    pub(crate) fn probes(&self) -> usize {
        self.shared.probes.load(Ordering::SeqCst)
    }

    /// How often its metrics were read.
    pub(crate) fn scrapes(&self) -> usize {
        self.shared.scrapes.load(Ordering::SeqCst)
    }
}

/// An entry of a list.
pub(crate) fn entry(name: &str, address: SocketAddr) -> EndpointEntry {
    EndpointEntry::new(name, address.ip().to_string(), address.port())
}

/// A completion, not streamed.
pub(crate) fn completion() -> Act {
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}});
    Act::Answer(200, json!({"object": "text_completion", "choices": [{"text": " hi"}], "usage": usage}).to_string())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| serve(Arc::clone(&shared), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move { _ = connection.await }));
    }
}

async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<EngineBody>, &'static str> {
    let (head, body) = request.into_parts();
    let about = |status: StatusCode, text: String| {
        let mut response = Response::new(EngineBody::whole(text));
        *response.status_mut() = status;
        Ok(response)
    };
    match head.uri.path() {
        "/health" => {
            shared.probes.fetch_add(1, Ordering::SeqCst);
            let healthy = shared.healthy.load(Ordering::SeqCst);
            return about(if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, String::new());
        }
        "/metrics" => {
            shared.scrapes.fetch_add(1, Ordering::SeqCst);
            return about(StatusCode::OK, shared.metrics.lock().clone());
        }
        "/v1/models" => return about(StatusCode::OK, shared.models.lock().to_string()),
        "/kv_event_sources" => return about(StatusCode::OK, shared.event_sources.lock().to_string()),
        _ => {}
    }
    let guard = UnderWay::new(&shared);
    let body = body.collect().await.map_err(|_| "the request broke off")?.to_bytes();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let seen = Seen { path, headers: head.headers, body };
    let act = (shared.behaviour)(&seen);
    shared.seen.lock().push(seen);
    let answer = |body| Ok(Response::builder().header("content-type", "text/event-stream").body(body).unwrap());
    match act {
        Act::Answer(status, text) => {
            let body = EngineBody { state: State::Whole(Some(text.into())), _guard: Some(guard) };
            Ok(Response::builder().status(status).header("content-type", "application/json").body(body).unwrap())
        }
        Act::Stream(pieces) => answer(EngineBody { state: State::Pieces(pieces), _guard: Some(guard) }),
        Act::Die => Err("the engine died"),
        Act::DieAfterHead => {
            let (stream, act) = Stream::new();
            stream.break_off();
            let Act::Stream(pieces) = act else { unreachable!("a stream is one") };
            answer(EngineBody { state: State::Pieces(pieces), _guard: Some(guard) })
        }
        Act::Hang => {
            std::future::pending::<Infallible>().await;
            drop(guard);
            unreachable!("nobody waits for ever and goes on")
        }
    }
}

/// Counts a request while its answer is under way.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.under_way.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

struct EngineBody {
    state: State,
    _guard: Option<UnderWay>,
}

enum State {
    Whole(Option<Bytes>),
    Pieces(mpsc::UnboundedReceiver<Piece>),
}

impl EngineBody {
    fn whole(text: String) -> Self {
        Self { state: State::Whole(Some(text.into())), _guard: None }
    }
}

impl Body for EngineBody {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match &mut self.state {
            State::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            State::Pieces(pieces) => pieces.poll_recv(cx).map(|piece| Some(piece?.map(Frame::data))),
        }
    }
}
