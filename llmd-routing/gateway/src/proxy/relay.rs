//! Passes an answer on, frame by frame, and settles the request when it ends, breaks off, or the client goes away.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use llmd_routing::{Decision, Usage};
use tokio::sync::OwnedSemaphorePermit;

use super::account::Account;
use super::attempt::Answer;
use super::cached::Rewriting;
use super::usage::{Tail, TokenUsage};
use crate::answer::BoxError;
use crate::clock::Clock;
use crate::model::Directory;

/// A request whose answer goes on keeps its reservation: it is put off this often.
const RENEW_AFTER: Duration = Duration::from_secs(10);

/// An answer's body on its way to the client. Nothing is held back: a frame goes on as it comes.
pub(super) struct Relay {
    first: Option<Frame<Bytes>>,
    rest: Incoming,
    /// The end of the answer, where somebody wants to know what it took.
    tail: Option<Tail>,
    /// What writes the answer anew, where that is done.
    rewriting: Option<Rewriting>,
    /// `None` when everything is settled.
    passage: Option<Passage>,
    silence: Silence,
    /// When its reservation was last put off.
    renewed: Duration,
}

/// What is held while an answer passes. Dropped before the answer is complete, the request was aborted: the decision
/// releases its reservation, and the endpoint's connection is closed.
pub(super) struct Passage {
    /// Whether the answer is one, and no error.
    pub(super) succeeded: bool,
    pub(super) decision: Decision,
    pub(super) account: Account,
    pub(super) directory: Arc<Directory>,
    pub(super) clock: Clock,
    pub(super) slot: OwnedSemaphorePermit,
}

impl Relay {
    /// An answer on its way. Without a `tail` nothing of it is looked at.
    pub(super) fn new(
        answer: Answer,
        passage: Passage,
        between_bytes: Duration,
        tail: Option<Tail>,
        rewriting: Option<Rewriting>,
    ) -> Self {
        let silence = Silence::new(passage.clock.clone(), between_bytes);
        let mut relay = Self {
            first: answer.first,
            rest: answer.rest,
            tail,
            rewriting,
            renewed: silence.last,
            passage: Some(passage),
            silence,
        };
        relay.complete_if_ended();
        relay
    }

    /// A frame goes on.
    fn pass(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let (Some(tail), Some(piece)) = (&mut self.tail, frame.data_ref()) {
            tail.push(piece);
        }
        if let Some(passage) = self.passage.as_ref().filter(|_| self.silence.last >= self.renewed + RENEW_AFTER) {
            self.renewed = self.silence.last;
            passage.decision.renew(self.renewed);
        }
        self.complete_if_ended();
        Poll::Ready(Some(Ok(frame)))
    }

    /// When the length of a body was said in advance, nobody asks for more than that: this is where it ends.
    fn complete_if_ended(&mut self) {
        if self.is_end_stream() {
            self.complete();
        }
    }

    /// A frame as it goes on; `None` when nothing of it does yet.
    fn rewritten(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let Some(rewriting) = &mut self.rewriting else { return Some(frame) };
        // Trailers would come before the end of the body, which is held back.
        let piece = rewriting.push(frame.into_data().ok()?);
        (!piece.is_empty()).then(|| Frame::data(piece))
    }

    /// The end came: what was held back goes on.
    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let left = self.rewriting.take().map(Rewriting::finish).filter(|left| !left.is_empty());
        let Some(left) = left else {
            self.complete();
            return Poll::Ready(None);
        };
        self.pass(Frame::data(left))
    }

    fn complete(&mut self) {
        let Some(mut passage) = self.passage.take() else { return };
        let found = self.tail.as_ref().and_then(Tail::usage);
        if passage.succeeded {
            passage.decision.end(passage.clock.now(), &found.map_or_else(Usage::default, for_plugins));
        } else {
            passage.decision.abort();
        }
        passage.account.complete(found);
        drop(passage.slot);
    }

    /// The endpoint broke off: so does the answer, since a clean end would pass for the whole of it.
    fn cut(&mut self, error: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(mut passage) = self.passage.take() {
            let endpoint = passage.decision.endpoint();
            tracing::warn!("endpoint {endpoint} broke off in the middle of an answer: {error}");
            passage.directory.failed(endpoint);
            passage.account.fail("cut");
        }
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let polled = match this.first.take() {
                Some(first) => Poll::Ready(Some(Ok(first))),
                None => Pin::new(&mut this.rest).poll_frame(cx),
            };
            return match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    this.silence.broken();
                    match this.rewritten(frame) {
                        Some(frame) => this.pass(frame),
                        None => continue,
                    }
                }
                Poll::Ready(Some(Err(error))) => this.cut(error.into()),
                Poll::Ready(None) => this.finish(),
                Poll::Pending if this.silence.is_too_long(cx) => {
                    let error = format!("no byte within {:?}", this.silence.longest);
                    this.cut(error.into())
                }
                Poll::Pending => Poll::Pending,
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rewriting.is_none() && self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rewriting.is_some() {
            return SizeHint::default();
        }
        let first = self.first.as_ref().and_then(Frame::data_ref).map_or(0, |piece| piece.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + first);
        }
        hint.set_lower(rest.lower() + first);
        hint
    }
}

/// Notices when nothing comes for too long. One timer serves for many frames: it is set anew when it rings, not when a
/// frame passes.
struct Silence {
    clock: Clock,
    longest: Duration,
    last: Duration,
    timer: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Silence {
    fn new(clock: Clock, longest: Duration) -> Self {
        let last = clock.now();
        Self { timer: timer(clock.clone(), last + longest), clock, longest, last }
    }

    fn broken(&mut self) {
        self.last = self.clock.now();
    }

    fn is_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            let deadline = self.last + self.longest;
            if deadline <= self.clock.now() {
                return true;
            }
            self.timer = timer(self.clock.clone(), deadline);
        }
        false
    }
}

fn timer(clock: Clock, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move { clock.sleep_until(deadline).await })
}

fn for_plugins(found: TokenUsage) -> Usage {
    let mut usage = Usage::default();
    usage.prompt_tokens = Some(found.prompt_tokens);
    usage.cached_tokens = found.cached_tokens();
    usage.completion_tokens = Some(found.completion_tokens);
    usage
}
