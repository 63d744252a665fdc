//! One request, as a scheduler sees it.

use std::collections::BTreeMap;

use llmd_routing::Headers;
use pyo3::exceptions::PyTypeError;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use pyo3::{PyTypeInfo as _, type_hint_identifier, type_hint_subscript, type_hint_union};

use crate::args::{Items, namespace};
use crate::buffer::Tokens;
use crate::chance;
use crate::error::invalid;
use crate::whole::{Whole, named};

/// One request, as a scheduler sees it. Fill in what `Scheduler.needs` asks for, and nothing else.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Request(pub(crate) llmd_routing::Request);

#[pymethods]
impl Request {
    /// A request for `model`.
    ///
    /// `id` is the name that logs know it by; one is drawn when none is given. `tokens` is the prompt, copied: a buffer of
    /// integers (NumPy, array, memoryview) or a sequence of int. `headers` are a mapping or pairs, of str or (as ASGI has
    /// them) bytes; upper and lower case are the same. `lora`, `salt` and `mm`, a sequence of (identifier, offset, length)
    /// in tokens, are what the prompt is computed under besides its tokens. `max_output_tokens` is what the client asks for
    /// at most. A `priority` below 0 is one that may be refused when there is too much to do, and `tenant` whose the request
    /// is: what is remembered under names that clients choose is remembered for each tenant by itself.
    ///
    /// Raises `InvalidError` for numbers out of range, named.
    #[new]
    #[pyo3(signature = (
        model, *, id=None, tokens=None, headers=None, lora=None, salt=None, mm=None, max_output_tokens=None,
        priority=None, tenant=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords, which Python's callers give by name")]
    fn new(
        py: Python<'_>,
        model: String,
        id: Option<String>,
        tokens: Option<Tokens>,
        headers: Option<RequestHeaders>,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
        max_output_tokens: Option<Whole>,
        priority: Option<Whole>,
        tenant: Option<String>,
    ) -> PyResult<Self> {
        let mut request = llmd_routing::Request::new(id.unwrap_or_else(chance::request_id), model);
        request.tokens = tokens.map(|tokens| tokens.into_vec(py));
        request.headers = headers.map(|headers| headers.0).unwrap_or_default();
        request.namespace = namespace(lora, None, salt, mm)?;
        request.max_output_tokens = named(max_output_tokens, "max_output_tokens")?;
        request.priority = priority.map_or(Ok(0), |priority| priority.signed("priority"))?;
        request.tenant = tenant;
        Ok(Self(request))
    }

    /// The name that logs know it by.
    #[getter]
    fn id(&self) -> &str {
        &self.0.id
    }

    /// The model that the client asks for.
    #[getter]
    fn model(&self) -> &str {
        &self.0.model
    }

    /// How many tokens the prompt has; None when it was given none.
    #[getter]
    fn prompt_tokens(&self) -> Option<usize> {
        self.0.tokens.as_ref().map(Vec::len)
    }

    /// Its headers, with names in lower case, copied. Of several by one name, the first, which is the one that counts.
    #[getter]
    fn headers(&self) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        for (name, value) in self.0.headers.iter() {
            headers.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        headers
    }

    /// At most how many tokens the client wants back.
    #[getter]
    fn max_output_tokens(&self) -> Option<u32> {
        self.0.max_output_tokens
    }

    /// How important it is: what is below 0 may be refused when there is too much to do.
    #[getter]
    fn priority(&self) -> i32 {
        self.0.priority
    }

    /// Whose it is.
    #[getter]
    fn tenant(&self) -> Option<&str> {
        self.0.tenant.as_deref()
    }

    fn __repr__(&self) -> String {
        match self.prompt_tokens() {
            Some(tokens) => format!("Request({:?}, id={:?}, {tokens} tokens)", self.0.model, self.0.id),
            None => format!("Request({:?}, id={:?})", self.0.model, self.0.id),
        }
    }
}

/// The headers of a request: a mapping, or pairs.
#[derive(Debug)]
struct RequestHeaders(Headers);

impl<'py> FromPyObject<'_, 'py> for RequestHeaders {
    type Error = PyErr;

    // Text and bytes each by themselves: a mapping of the one is no mapping of either.
    const INPUT_TYPE: PyStaticExpr = type_hint_union!(
        type_hint_subscript!(MAPPING, PyString::TYPE_HINT, PyString::TYPE_HINT),
        type_hint_subscript!(MAPPING, PyBytes::TYPE_HINT, PyBytes::TYPE_HINT),
        type_hint_subscript!(ITERABLE, type_hint_subscript!(TUPLE, PyString::TYPE_HINT, PyString::TYPE_HINT)),
        type_hint_subscript!(ITERABLE, type_hint_subscript!(TUPLE, PyBytes::TYPE_HINT, PyBytes::TYPE_HINT))
    );

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // Not every mapping of headers is registered as one: `http.server` has an `email.message.Message`.
        let items = match object.getattr_opt("items")? {
            Some(items) => items.call0()?,
            None => object.to_owned(),
        };
        let mut headers = Headers::default();
        for item in items.try_iter()? {
            let (name, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = item?.extract()?;
            headers.insert(text(&name)?, text(&value)?);
        }
        Ok(Self(headers))
    }
}

/// What has keys and gives a value for each, registered as a mapping or not.
const MAPPING: PyStaticExpr = type_hint_identifier!("_typeshed", "SupportsKeysAndGetItem");
const ITERABLE: PyStaticExpr = type_hint_identifier!("collections.abc", "Iterable");
const TUPLE: PyStaticExpr = type_hint_identifier!("builtins", "tuple");

/// Text, or bytes as they lie on the wire, which are Latin-1 in HTTP.
fn text(object: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = object.cast::<PyString>() {
        return text.to_str().map(str::to_owned).map_err(|_| invalid("a header has lone surrogates, expected text"));
    }
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().iter().map(|&byte| char::from(byte)).collect());
    }
    let class = object.get_type();
    let class = class.name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    Err(PyTypeError::new_err(format!("a header has {class}, expected str or bytes")))
}
