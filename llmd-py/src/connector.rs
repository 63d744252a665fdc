//! How two engines hand over KV, as seen in the request, for Python.

use std::collections::BTreeMap;
use std::sync::Arc;

use llmd_routing::connector::{
    self, Api, ClientParams, Engine, Engines, Kv, KvSource, Order, Original, PrefillResponse, by_name,
};
use pyo3::prelude::*;

use crate::buffer::Payload;
use crate::chance;
use crate::error::{invalid, raise};
use crate::headers::by_name as headers_by_name;
use crate::whole::{Whole, named};

/// A way in which two engines hand over KV, as seen in the request: from body to body, without any sending.
///
/// A request that one engine prefills and another decodes goes out twice, with two bodies. `handover` reads what the client
/// sent, and makes both of it.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Connector(Arc<dyn connector::Connector>);

#[pymethods]
impl Connector {
    /// The connector that llm-d calls so, with its defaults: `nixlv2`, `sglang`, `shared-storage`, `offloading`, …
    ///
    /// Raises `UnsupportedError` when there is none; it names those that there are.
    #[new]
    fn new(name: &str) -> PyResult<Self> {
        by_name(name).map(|connector| Self(Arc::from(connector))).map_err(raise)
    }

    /// What llm-d calls it.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// What the response of prefill is for: `"copied"` when what it says of KV goes into decode's body, or `"discarded"`.
    #[getter]
    fn prefill_response(&self) -> &str {
        match self.0.prefill_response() {
            PrefillResponse::Copied => "copied",
            _ => "discarded",
        }
    }

    /// What the prefiller's machine is asked before, as an URL, whose answer `handover` takes as `bootstrap`; None when nothing.
    fn bootstrap_url(&self, prefiller: &str) -> Option<String> {
        self.0.bootstrap_url(prefiller)
    }

    /// One request: the `body` that a client sent to `path`, as JSON.
    ///
    /// `request_id` is the id under which both engines know it, a UUID that is used once, and `prefiller` and `decoder`
    /// where they are (`host:port`). `rank` is the data-parallel rank that both are to use, `room` where SGLang's engines meet,
    /// and `kv_source`, the address of an engine and a UUID, from whom the beginning of the prompt is pulled. `bootstrap` is
    /// what `bootstrap_url` answered: one of its engines is drawn. A client that is not `trusted` has the fields removed by
    /// which engines are told whom to talk to.
    ///
    /// Raises `InvalidError` when `path` is of no API that has stages, or the body is no JSON object, and `CorruptError` when
    /// `bootstrap` names no engine.
    #[pyo3(signature = (
        path, body, *, request_id, prefiller, decoder=None, rank=None, room=None, kv_source=None, bootstrap=None,
        trusted=false
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords, which Python's callers give by name")]
    fn handover(
        &self,
        py: Python<'_>,
        path: &str,
        body: Payload<'_>,
        request_id: String,
        prefiller: String,
        decoder: Option<String>,
        rank: Option<Whole>,
        room: Option<i64>,
        kv_source: Option<(String, String)>,
        bootstrap: Option<Payload<'_>>,
        trusted: bool,
    ) -> PyResult<Handover> {
        let api = Api::from_path(path).ok_or_else(|| {
            let known: Vec<_> = Api::ALL.iter().map(|api| api.path()).collect();
            invalid(format!("path {path:?}: expected one of {}", known.join(", ")))
        })?;
        let engines = bootstrap.map(|answer| answer.read(py, Engines::parse)).transpose().map_err(raise)?;
        let handover = Handover {
            connector: Arc::clone(&self.0),
            api,
            client: if trusted { ClientParams::Kept } else { ClientParams::Removed },
            body: body.read(py, <[u8]>::to_vec),
            request_id,
            prefiller,
            decoder,
            rank: named(rank, "rank")?.unwrap_or(0),
            room,
            kv_source,
            engine: engines.map(|engines| engines.pick(chance::drawn()).clone()),
        };
        handover.original().map(drop)?;
        Ok(handover)
    }

    fn __repr__(&self) -> String {
        format!("Connector({:?})", self.0.name())
    }
}

/// One request that one engine prefills and another decodes.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Handover {
    connector: Arc<dyn connector::Connector>,
    api: Api,
    client: ClientParams,
    body: Vec<u8>,
    request_id: String,
    prefiller: String,
    decoder: Option<String>,
    rank: u32,
    room: Option<i64>,
    kv_source: Option<(String, String)>,
    engine: Option<Engine>,
}

impl Handover {
    fn original(&self) -> PyResult<Original<'_>> {
        Original::parse(self.api, &self.body, self.client).map_err(raise)
    }

    fn drawn(&self) -> connector::Handover<'_> {
        let drawn = connector::Handover::new(&self.request_id, &self.prefiller).with_rank(self.rank);
        let drawn = self.decoder.as_ref().map_or(drawn, |decoder| drawn.with_decoder(decoder));
        let drawn = self.room.map_or(drawn, |room| drawn.with_room(room));
        let drawn = self.engine.as_ref().map_or(drawn, |engine| drawn.with_engine(engine));
        let source = self.kv_source.as_ref().map(|(endpoint, id)| KvSource::new(endpoint, id));
        source.map_or(drawn, |source| drawn.with_kv_source(source))
    }
}

#[pymethods]
impl Handover {
    /// In which order the stages run: `"sequential"`; `"concurrent"`, where the prefill's response is discarded;
    /// `"concurrent-held"`, where nothing of decode's response goes to the client before prefill has succeeded; or
    /// `"decode-first"`, where the decoder is sent `attempt` first, and both follow when its response is `below_threshold`.
    #[getter]
    fn order(&self) -> PyResult<&str> {
        Ok(match self.connector.order(&self.original()?) {
            Order::Concurrent => "concurrent",
            Order::ConcurrentHeld => "concurrent-held",
            Order::DecodeFirst => "decode-first",
            _ => "sequential",
        })
    }

    /// What the decoder is sent when it may do without prefill.
    fn attempt(&self) -> PyResult<Leg> {
        Ok(Leg::of(&self.connector.attempt(&self.original()?)))
    }

    /// Whether a decoder that was tried first holds too little of the prompt, by its response, or the first piece of one that
    /// streams. Otherwise the response is the client's.
    #[staticmethod]
    fn below_threshold(py: Python<'_>, response: Payload<'_>) -> bool {
        response.read(py, connector::below_threshold)
    }

    /// What the prefiller is sent.
    ///
    /// Raises `InvalidError` when a field of the body that must change has the wrong type, or something is missing that this
    /// connector needs, which is named.
    fn prefill(&self) -> PyResult<Leg> {
        let leg = self.connector.prefill(&self.original()?, &self.drawn()).map_err(raise)?;
        Ok(Leg::of(&leg))
    }

    /// What the decoder is sent. `response` is the body of prefill's response; None when it is not there yet.
    ///
    /// Raises `CorruptError` when the response is not what a prefiller answers, and `InvalidError` when it is not there and
    /// this connector needs it, or something else is missing.
    #[pyo3(signature = (response=None))]
    fn decode(&self, py: Python<'_>, response: Option<Payload<'_>>) -> PyResult<Leg> {
        let response = response.map(|response| response.read(py, <[u8]>::to_vec));
        let decode = self.connector.decode(&self.original()?, &self.drawn(), response.as_deref()).map_err(raise)?;
        let kv = match decode.kv {
            Kv::Handed => "handed",
            _ => "recomputed",
        };
        Ok(Leg { kv: Some(kv), cached_tokens: decode.cached_tokens, ..Leg::of(&decode.leg) })
    }

    fn __repr__(&self) -> String {
        format!("Handover({:?}, {:?})", self.connector.name(), self.request_id)
    }
}

/// What one engine is sent.
#[pyclass(frozen, get_all, eq, module = "llmd_py")]
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Leg {
    /// The body, as JSON. What the connector does not name stays as it was written, to the byte.
    body: Vec<u8>,
    /// What is set beside the headers that the client sent.
    headers: BTreeMap<String, String>,
    /// Where a decoder has the prompt's KV from: `"handed"` by the prefiller, or `"recomputed"` by itself, since the prefiller
    /// has said nothing of KV. None of what else is sent.
    kv: Option<&'static str>,
    /// What a decoder's response says of cached tokens is to be this; None when the response stays as it is.
    cached_tokens: Option<u64>,
}

impl Leg {
    fn of(leg: &connector::Leg<'_>) -> Self {
        let (body, headers) = (leg.body.to_json().into_bytes(), headers_by_name(&leg.headers));
        Self { body, headers, kv: None, cached_tokens: None }
    }
}

#[pymethods]
impl Leg {
    fn __repr__(&self) -> String {
        format!("Leg({:?}, headers={:?})", String::from_utf8_lossy(&self.body), self.headers)
    }
}
