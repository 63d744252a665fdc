//! Where requests can go, and how busy it is there.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::mem::{MaybeUninit, offset_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use llmd_core::{Error, ErrorKind, Medium, Result, WorkerId};
use llmd_routing::{Endpoint, EngineMetrics, LoraMetrics};

use crate::boundary::{boundary, given, invalid, made, null};
use crate::clock::now;
use crate::error::llmd_error;
use crate::filled::fill;
use crate::given::{items, text, text_or_null, texts};
use crate::index::{LLMD_MEDIA, llmd_index};
use crate::quiet::quietly;
use crate::sized::{Settings, Sizes, settings};
use crate::status::llmd_status;

/// An address that requests can go to, with what is known about it now. May be used by several threads at once; its requests
/// are counted in one place, whichever scheduler sends them. A decision keeps what it needs of it, and may outlive it.
#[derive(Debug)]
pub struct llmd_endpoint(pub(crate) Arc<Endpoint>);

/// A name and a value, such as a label or a header. Neither is NULL.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_pair {
    /// The name.
    pub name: *const c_char,
    /// The value.
    pub value: *const c_char,
}

/// What an endpoint is made with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_endpoint_settings {
    /// sizeof(llmd_endpoint_settings).
    pub struct_size: usize,
    /// The name that people know it by.
    pub name: *const c_char,
    /// Where requests go: `host:port`.
    pub address: *const c_char,
    /// The name of the worker whose cache its requests use, as the index is told it. Default: the endpoint's own name.
    pub worker: *const c_char,
    /// Its labels.
    pub labels: *const llmd_pair,
    /// How many there are.
    pub labels_len: usize,
    /// The data-parallel rank that requests are for; NULL when the engine at the address has one, or chooses itself.
    pub rank: *const u32,
}

impl Sizes for llmd_endpoint_settings {
    const NAME: &'static str = "llmd_endpoint_settings";
    const SIZES: &'static [usize] = &[offset_of!(Self, rank), size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_endpoint_settings {}

/// What an engine said about itself, once. What it does not say is below 0; of its adapters and of how fast it is, 0.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_metrics {
    /// sizeof(llmd_metrics).
    pub struct_size: usize,
    /// Requests that wait for a place in the batch.
    pub waiting_requests: i64,
    /// Requests in the batch.
    pub running_requests: i64,
    /// How much of its KV cache running requests hold, from 0 to 1.
    pub kv_cache_usage: f64,
    /// Tokens per block of its cache.
    pub block_size: i64,
    /// Blocks of its cache.
    pub num_blocks: i64,
    /// How many adapters fit into its memory at once; 0 when it says nothing of adapters.
    pub max_lora: u32,
    /// Names of those that a request in the batch uses.
    pub running_lora_adapters: *const *const c_char,
    /// How many there are.
    pub running_lora_adapters_len: usize,
    /// Names of those that a request that waits uses.
    pub waiting_lora_adapters: *const *const c_char,
    /// How many there are.
    pub waiting_lora_adapters_len: usize,
    /// Seconds that it takes to load a cached token from each medium, by llmd_medium; 0 where it does not say.
    pub load_s_per_token: [f64; LLMD_MEDIA],
    /// Seconds that it takes to compute a token of a prompt; 0 where it does not say.
    pub prefill_s_per_token: f64,
}

impl Sizes for llmd_metrics {
    const NAME: &'static str = "llmd_metrics";
    const SIZES: &'static [usize] = &[offset_of!(Self, max_lora), size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_metrics {}

/// An endpoint; NULL when it cannot be made. `index` is the one that the scheduler asks; NULL when it asks none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_endpoint_new(
    settings: *const llmd_endpoint_settings,
    index: Option<&llmd_index>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_endpoint>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        unsafe { new(settings, index) }.map(Arc::new).map(llmd_endpoint)
    })
}

unsafe fn new(given: *const llmd_endpoint_settings, index: Option<&llmd_index>) -> Result<Endpoint> {
    // SAFETY: as llmd.h says, for the struct and for all that it points to.
    let (name, address, worker, labels, rank) = unsafe {
        let given = settings(given)?;
        (
            text(given.name, "name")?,
            text(given.address, "address")?,
            text_or_null(given.worker, "worker")?,
            pairs(given.labels, given.labels_len, "labels")?,
            given.rank.as_ref(),
        )
    };
    let endpoint = Endpoint::new(name, address, worker_id(index, worker.unwrap_or(name))?).with_labels(labels);
    Ok(match rank {
        Some(rank) => endpoint.with_rank(*rank),
        None => endpoint,
    })
}

fn worker_id(index: Option<&llmd_index>, name: &str) -> Result<WorkerId> {
    match index {
        Some(index) => index.feed.worker(name),
        None => anonymous(),
    }
}

/// Makes the data-parallel ranks behind one address, an endpoint each, and puts them where `endpoints` has room for `ranks`
/// of them, from rank 0. They are called `<name>-rank-<n>`, as in llm-d: each is scored by itself, and a decision names the
/// rank. `workers` are the names of the workers whose caches their requests use, in the order of the ranks; NULL for the
/// endpoints' own names. `settings->worker` and `settings->rank` are NULL. There are at most 65,535 ranks. When it
/// fails, no endpoint was made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_endpoint_ranks(
    settings: *const llmd_endpoint_settings,
    index: Option<&llmd_index>,
    workers: *const *const c_char,
    endpoints: *mut Option<Box<llmd_endpoint>>,
    ranks: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        if endpoints.is_null() && ranks > 0 {
            return Err(null("endpoints"));
        }
        // SAFETY: as llmd.h says.
        let made = unsafe { made_ranks(settings, index, workers, ranks) }?;
        let made = made.into_iter().map(|endpoint| Some(Box::new(llmd_endpoint(Arc::new(endpoint)))));
        // SAFETY: as llmd.h says.
        unsafe { fill(endpoints, Some(&mut { ranks }), made, "endpoints") }
    })
}

/// How many ranks there can be behind one address.
const MAX_RANKS: usize = u16::MAX as usize;

unsafe fn made_ranks(
    given: *const llmd_endpoint_settings,
    index: Option<&llmd_index>,
    workers: *const *const c_char,
    ranks: usize,
) -> Result<Vec<Endpoint>> {
    // SAFETY: as llmd.h says, for the struct and for all that it points to.
    let (name, address, labels) = unsafe {
        let given = settings(given)?;
        if !given.worker.is_null() || !given.rank.is_null() {
            return Err(invalid("worker or rank is said, expected NULL for ranks, which have their own"));
        }
        if ranks > MAX_RANKS {
            return Err(invalid(format!("ranks is {ranks}, expected {MAX_RANKS} or less")));
        }
        let labels = pairs(given.labels, given.labels_len, "labels")?;
        (text(given.name, "name")?, text(given.address, "address")?, labels.collect::<Vec<_>>())
    };
    let workers = if workers.is_null() {
        (0..ranks).map(|rank| worker_id(index, &format!("{name}-rank-{rank}"))).collect::<Result<Vec<_>>>()?
    } else {
        // SAFETY: as llmd.h says.
        let names = unsafe { texts(workers, ranks, "workers") }?;
        names.into_iter().map(|name| worker_id(index, name)).collect::<Result<_>>()?
    };
    let ranks = Endpoint::ranks(name, address, workers);
    Ok(ranks.map(|endpoint| endpoint.with_labels(labels.iter().copied())).collect())
}

/// The pairs at `data`.
///
/// # Safety
///
/// They are as `llmd.h` says.
pub(crate) unsafe fn pairs<'a>(
    data: *const llmd_pair,
    len: usize,
    name: &str,
) -> Result<impl Iterator<Item = (&'a str, &'a str)> + use<'a>> {
    // SAFETY: the caller's promise is the same, for the array and for all that it points to.
    let pair = |pair: &llmd_pair| unsafe { Ok((text(pair.name, "name")?, text(pair.value, "value")?)) };
    // SAFETY: as above.
    let pairs = unsafe { items(data, len, name) }?;
    Ok(pairs.iter().map(pair).collect::<Result<Vec<_>>>()?.into_iter())
}

/// A worker of an engine that sends no events. Its id is far above those of any index.
fn anonymous() -> Result<WorkerId> {
    static NEXT: AtomicU32 = AtomicU32::new(1 << 31);
    // Relaxed: nothing hangs on the order in which ids are given out, only that none is given twice.
    let next = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| next.checked_add(1));
    let exhausted = |last| Error::new(ErrorKind::Exhausted, format!("worker id {last} is the last that there is"));
    next.map(WorkerId).map_err(exhausted)
}

/// Takes what the engine says about itself, instead of what it said before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_endpoint_set_metrics(
    endpoint: Option<&llmd_endpoint>,
    metrics: *const llmd_metrics,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let endpoint = &given(endpoint, "endpoint")?.0;
        // SAFETY: as llmd.h says.
        let said = unsafe { settings(metrics) }?;
        let mut metrics = EngineMetrics::default();
        metrics.updated = now();
        metrics.waiting_requests = u64::try_from(said.waiting_requests).ok();
        metrics.running_requests = u64::try_from(said.running_requests).ok();
        metrics.kv_cache_usage = Some(said.kv_cache_usage).filter(|usage| *usage >= 0.0);
        metrics.block_size = u32::try_from(said.block_size).ok();
        metrics.num_blocks = u64::try_from(said.num_blocks).ok();
        // SAFETY: as llmd.h says.
        metrics.lora = unsafe { lora(&said) }?;
        for medium in Medium::ALL {
            metrics.load_s_per_token[medium.index()] = per_token(said.load_s_per_token[medium.index()]);
        }
        metrics.prefill_s_per_token = per_token(said.prefill_s_per_token);
        endpoint.set_metrics(metrics);
        Ok(())
    })
}

unsafe fn lora(said: &llmd_metrics) -> Result<Option<LoraMetrics>> {
    if said.max_lora == 0 {
        return Ok(None);
    }
    let mut lora = LoraMetrics::default();
    lora.max = said.max_lora;
    // SAFETY: as llmd.h says.
    let (running, waiting) = unsafe {
        (
            texts(said.running_lora_adapters, said.running_lora_adapters_len, "running_lora_adapters")?,
            texts(said.waiting_lora_adapters, said.waiting_lora_adapters_len, "waiting_lora_adapters")?,
        )
    };
    lora.running = running.into_iter().map(str::to_owned).collect();
    lora.waiting = waiting.into_iter().map(str::to_owned).collect();
    Ok(Some(lora))
}

fn per_token(seconds: f64) -> Option<f64> {
    Some(seconds).filter(|seconds| *seconds > 0.0)
}

/// Takes what others than the engine measure of it under a name, such as `GPUUtilization`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_endpoint_set_attribute(
    endpoint: Option<&llmd_endpoint>,
    name: *const c_char,
    value: f64,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let endpoint = &given(endpoint, "endpoint")?.0;
        // SAFETY: as llmd.h says.
        endpoint.set_attribute(unsafe { text(name, "name") }?, value);
        Ok(())
    })
}

/// What others than the engine measure of it under a name: NaN when nobody did, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_endpoint_attribute(endpoint: Option<&llmd_endpoint>, name: *const c_char) -> f64 {
    quietly(f64::NAN, || {
        // SAFETY: as llmd.h says.
        let name = unsafe { text(name, "name") }.ok();
        endpoint.zip(name).and_then(|(endpoint, name)| endpoint.0.attribute(name)).unwrap_or(f64::NAN)
    })
}

/// How many requests were sent there and have not ended. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_endpoint_in_flight_requests(endpoint: Option<&llmd_endpoint>) -> u64 {
    endpoint.map_or(0, |endpoint| endpoint.0.in_flight().requests())
}

/// How many tokens of their prompts were not in its cache, and have not been computed, as far as is known. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_endpoint_in_flight_tokens(endpoint: Option<&llmd_endpoint>) -> u64 {
    endpoint.map_or(0, |endpoint| endpoint.0.in_flight().tokens())
}

/// Frees an endpoint. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_endpoint_free(endpoint: Option<Box<llmd_endpoint>>) {
    quietly((), || drop(endpoint));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_no_index_are_nobody_elses() {
        let (one, other) = (anonymous().unwrap(), anonymous().unwrap());

        assert_ne!(one, other);
        assert!(one.0 >= 1 << 31 && other.0 >= 1 << 31);
    }
}
