//! Operations that coroutines await: the loop that runs them looks when the agent's descriptor is readable.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use llmd_core::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use super::event::Fetched;
use super::shared::{Ending, Shared};
use crate::error::raise;

/// The loop that looks for an agent, as long as something of it is awaited.
#[derive(Debug, Default)]
pub(super) struct Awaited(Option<Looking>);

#[derive(Debug)]
struct Looking {
    on: Py<PyAny>,
    /// A descriptor of our own: a loop has one reader for each, and the agent's is the caller's.
    fd: OwnedFd,
}

/// A future of a loop's.
#[derive(Debug)]
pub(super) struct Future {
    on: Py<PyAny>,
    future: Py<PyAny>,
    /// Who awaits an operation may have nothing else of it: until this is told, it keeps what will be.
    _ending: Arc<Ending>,
}

impl Future {
    /// Its operation ended.
    pub(super) fn succeed(&self, py: Python<'_>, fetched: Fetched) {
        let result = Py::new(py, fetched).map(Py::into_any);
        self.tell(py, "set_result", result);
    }

    /// Nobody will hear of its operation any more.
    pub(super) fn fail(&self, py: Python<'_>, why: PyErr) {
        self.tell(py, "set_exception", Ok(why.into_value(py).into_any()));
    }

    fn tell(&self, py: Python<'_>, method: &'static str, argument: PyResult<Py<PyAny>>) {
        let told = argument.and_then(|argument| {
            let tell = (self.future.clone_ref(py), method, argument);
            let settle = wrap_pyfunction!(_settle, py)?;
            self.on.bind(py).call_method1("call_soon_threadsafe", (settle, tell.0, tell.1, tell.2))?;
            Ok(())
        });
        // A loop that is closed awaits nothing.
        drop(told);
    }
}

/// Tells a future what became of it, unless nobody awaits it any more.
#[pyfunction]
fn _settle(future: &Bound<'_, PyAny>, method: &str, argument: &Bound<'_, PyAny>) -> PyResult<()> {
    if !future.call_method0("done")?.is_truthy()? {
        future.call_method1(method, (argument,))?;
    }
    Ok(())
}

/// A future of the running loop that ends as the operation does.
pub(super) fn future<'py>(py: Python<'py>, shared: &Arc<Shared>, ending: &Arc<Ending>) -> PyResult<Bound<'py, PyAny>> {
    let on = py.import("asyncio")?.call_method0("get_running_loop")?;
    let future = on.call_method0("create_future")?;
    if let Some(ended) = shared.wait(ending, std::time::Duration::ZERO).map_err(raise)? {
        future.call_method1("set_result", (ended,))?;
        return Ok(future);
    }
    look(shared, &on)?;
    ending.tell(Future { on: on.unbind(), future: future.clone().unbind(), _ending: Arc::clone(ending) });
    // It may have ended since, and whoever heard of it saw no future to tell.
    if let Some(ended) = ending.ended() {
        for told in ending.futures() {
            told.succeed(py, ended.clone());
        }
    }
    Ok(future)
}

/// Has a loop look for the agent, unless it does already.
fn look(shared: &Arc<Shared>, on: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = on.py();
    let before = shared.awaited.lock().0.as_ref().map(|looking| looking.on.clone_ref(py));
    if let Some(before) = before {
        if before.is(on) {
            return Ok(());
        }
        if !before.bind(py).call_method0("is_closed")?.is_truthy()? && shared.is_awaited() {
            let message = "operations of the agent are awaited by another loop, expected one at a time";
            return Err(raise(Error::new(ErrorKind::Invalid, message)));
        }
        look_away(py, shared);
    }
    let agent = shared.agent().map_err(raise)?;
    let fd = agent.wake_fd().try_clone_to_owned()?;
    // The loop keeps the agent, which may be awaited by somebody who has nothing else of it, until nothing is awaited any more.
    let kept = Arc::clone(shared);
    let hear = PyCFunction::new_closure(py, None, None, move |args, _| hear(args.py(), &kept))?;
    on.call_method1("add_reader", (fd.as_raw_fd(), hear))?;
    shared.awaited.lock().0 = Some(Looking { on: on.clone().unbind(), fd });
    Ok(())
}

/// The loop looks no longer.
pub(super) fn look_away(py: Python<'_>, shared: &Shared) {
    let Some(Looking { on, fd }) = shared.awaited.lock().0.take() else { return };
    // A loop that is closed has no readers. The descriptor is closed after it was taken out.
    drop(on.bind(py).call_method1("remove_reader", (fd.as_raw_fd(),)));
    drop(fd);
}

/// The descriptor is readable.
fn hear(py: Python<'_>, shared: &Shared) {
    match shared.hear() {
        Ok(told) => told.into_iter().for_each(|(future, fetched)| future.succeed(py, fetched)),
        Err(error) => {
            let why = raise(error);
            shared.futures().iter().for_each(|future| future.fail(py, why.clone_ref(py)));
        }
    }
    if !shared.is_awaited() {
        look_away(py, shared);
    }
}
