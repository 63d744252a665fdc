//! One request, as a scheduler sees it.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]

use std::ffi::c_char;
use std::mem::offset_of;

use llmd_core::Result;
use llmd_routing::{Headers, Request};

use crate::endpoint::{llmd_pair, pairs};
use crate::given::{items, text_or_null};
use crate::namespace::{llmd_namespace, namespace};
use crate::sized::{Settings, Sizes, settings};

/// One request, as a scheduler sees it: fill in what llmd_scheduler_needs says, and leave the rest.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_request {
    /// sizeof(llmd_request).
    pub struct_size: usize,
    /// The id that logs and traces know it by.
    pub id: *const c_char,
    /// The model that the client asks for.
    pub model: *const c_char,
    /// The headers, in any case.
    pub headers: *const llmd_pair,
    /// How many there are.
    pub headers_len: usize,
    /// The prompt; NULL when nobody made tokens.
    pub tokens: *const u32,
    /// How many there are.
    pub tokens_len: usize,
    /// What the prompt is computed under; NULL for nothing.
    pub under: *const llmd_namespace,
    /// At most how many tokens the client wants back; 0 when it does not say.
    pub max_output_tokens: usize,
    /// Whose it is; NULL for nobody's. What is remembered under names that clients choose is remembered for each tenant by
    /// itself.
    pub tenant: *const c_char,
    /// How important it is: what is below 0 may be refused when there is too much to do.
    pub priority: i32,
}

impl Sizes for llmd_request {
    const NAME: &'static str = "llmd_request";
    const SIZES: &'static [usize] = &[offset_of!(Self, tenant), size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_request {}

/// The request at `given`.
///
/// # Safety
///
/// It is as `llmd.h` says.
pub(crate) unsafe fn request(given: *const llmd_request) -> Result<Request> {
    // SAFETY: the caller's promise is the same, for the struct and for all that it points to.
    let (given, id, model, headers, tokens, namespace, tenant) = unsafe {
        let given = settings(given)?;
        (
            given,
            text_or_null(given.id, "id")?.unwrap_or_default(),
            text_or_null(given.model, "model")?.unwrap_or_default(),
            pairs(given.headers, given.headers_len, "headers")?,
            items(given.tokens, given.tokens_len, "tokens")?,
            namespace(given.under)?,
            text_or_null(given.tenant, "tenant")?,
        )
    };
    let headers: Headers = headers.map(|(name, value)| (name.to_owned(), value)).collect();
    let request = Request::new(id, model).with_headers(headers).with_namespace(namespace);
    let mut request = request.with_priority(given.priority);
    request.tenant = tenant.map(str::to_owned);
    request.tokens = (!given.tokens.is_null()).then(|| tokens.to_vec());
    request.max_output_tokens = match given.max_output_tokens {
        0 => None,
        most => Some(u32::try_from(most).unwrap_or(u32::MAX)),
    };
    Ok(request)
}
