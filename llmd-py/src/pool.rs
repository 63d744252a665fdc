//! The endpoints that a decision can choose from.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};
use pyo3::{PyTypeInfo as _, type_hint_identifier, type_hint_subscript};

use crate::endpoint::Endpoint;
use crate::error::invalid;
use crate::index::Shared;

/// The endpoints of one model, as they are at one moment: a sequence that `Scheduler.decide` takes as it is.
///
/// Any iterable of endpoints will do there; a pool saves looking at each endpoint for each request.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Pool(Arc<Members>);

/// The same endpoints twice: for the scheduler, and as the objects that Python knows.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) pool: llmd_routing::Pool,
    objects: Vec<Py<Endpoint>>,
}

/// What can stand for a pool: one, or any iterable of endpoints.
#[derive(Debug)]
pub(crate) struct Choice(pub(crate) Arc<Members>);

impl Members {
    fn new(endpoints: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut objects = Vec::new();
        for endpoint in endpoints.try_iter()? {
            let endpoint = endpoint?;
            let place = objects.len();
            let endpoint = endpoint.cast_into::<Endpoint>().map_err(|error| {
                let class = error.into_inner().get_type();
                let class = class.name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
                PyTypeError::new_err(format!("endpoints[{place}] is {class}, expected Endpoint"))
            })?;
            objects.push(endpoint);
        }
        let mut names = HashSet::with_capacity(objects.len());
        if let Some(twice) = objects.iter().find(|endpoint| !names.insert(endpoint.get().inner.name())) {
            return Err(invalid(format!("two endpoints are called {:?}", twice.get().inner.name())));
        }
        let pool = llmd_routing::Pool::new(objects.iter().map(|endpoint| Arc::clone(&endpoint.get().inner)));
        Ok(Self { pool, objects: objects.into_iter().map(Bound::unbind).collect() })
    }

    /// The first endpoint whose worker is not one of `index`, or of none when that is `None`.
    pub(crate) fn stranger(&self, index: Option<&Arc<Shared>>) -> Option<&Endpoint> {
        self.objects.iter().map(Py::get).find(|endpoint| !endpoint.is_of(index))
    }

    /// The object of an endpoint of the pool.
    pub(crate) fn object(&self, py: Python<'_>, endpoint: &Arc<llmd_routing::Endpoint>) -> Py<Endpoint> {
        let place = self.pool.iter().position(|known| Arc::ptr_eq(known, endpoint));
        self.objects[place.expect("a decision names endpoints of its pool")].clone_ref(py)
    }
}

impl<'py> FromPyObject<'_, 'py> for Choice {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr =
        type_hint_subscript!(type_hint_identifier!("collections.abc", "Iterable"), Endpoint::TYPE_HINT);

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.cast::<Pool>() {
            Ok(pool) => Ok(Self(Arc::clone(&pool.get().0))),
            Err(_) => Members::new(&object).map(|members| Self(Arc::new(members))),
        }
    }
}

/// An iterator over endpoints, which says so to type checkers.
#[derive(Debug)]
struct Iterated<'py>(Bound<'py, PyIterator>);

impl<'py> IntoPyObject<'py> for Iterated<'py> {
    type Target = PyIterator;
    type Output = Bound<'py, PyIterator>;
    type Error = Infallible;

    const OUTPUT_TYPE: PyStaticExpr =
        type_hint_subscript!(type_hint_identifier!("collections.abc", "Iterator"), Endpoint::TYPE_HINT);

    fn into_pyobject(self, _: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(self.0)
    }
}

#[pymethods]
impl Pool {
    /// A pool of these endpoints, in this order.
    ///
    /// Raises `InvalidError` when two have one name, and `TypeError` for what is no Endpoint.
    #[new]
    fn new(endpoints: Choice) -> Self {
        Self(endpoints.0)
    }

    fn __len__(&self) -> usize {
        self.0.objects.len()
    }

    fn __getitem__(&self, py: Python<'_>, place: isize) -> PyResult<Py<Endpoint>> {
        let len = self.0.objects.len();
        let from_start = if place < 0 { place.checked_add_unsigned(len) } else { Some(place) };
        let found = from_start.and_then(|place| self.0.objects.get(usize::try_from(place).ok()?));
        let found = found.ok_or_else(|| PyIndexError::new_err(format!("endpoint {place} of {len}")))?;
        Ok(found.clone_ref(py))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Iterated<'py>> {
        PyTuple::new(py, &self.0.objects)?.try_iter().map(Iterated)
    }

    fn __contains__(&self, endpoint: &Bound<'_, PyAny>) -> bool {
        endpoint.cast::<Endpoint>().is_ok_and(|endpoint| self.0.objects.iter().any(|known| known.is(endpoint)))
    }

    fn __repr__(&self) -> String {
        let names: Vec<_> = self.0.pool.iter().map(|endpoint| endpoint.name()).collect();
        format!("Pool({names:?})")
    }
}
