//! What outlives `os.fork()`: the forked child has this process's memory and none of its other threads.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Something that must know when it finds itself in a forked child.
pub(crate) trait Forked: Send + Sync {
    /// Called in the child before anything else runs there. Must wait for nobody.
    fn in_child(&self);
}

/// Those that must know. Locked only by threads that hold the GIL, and briefly.
static LIVE: Mutex<Vec<Weak<dyn Forked>>> = Mutex::new(Vec::new());

/// Tells `object` from now on, as long as it lives.
pub(crate) fn tell(object: Weak<dyn Forked>) {
    let mut live = LIVE.lock();
    if live.len() == live.capacity() {
        live.retain(|object| object.strong_count() > 0);
    }
    live.push(object);
}

/// Asks Python to call us in every child.
pub(crate) fn watch(py: Python<'_>) -> PyResult<()> {
    let hook = wrap_pyfunction!(_in_child, py)?;
    let hooks = PyDict::new(py);
    hooks.set_item("after_in_child", hook)?;
    py.import("os")?.call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}

/// The process was forked, and this is the child.
#[pyfunction]
fn _in_child() {
    // Where another thread held the list while it forked, it is lost: that needs an interpreter without a GIL.
    let Some(live) = LIVE.try_lock() else { return };
    let objects: Vec<Arc<dyn Forked>> = live.iter().filter_map(Weak::upgrade).collect();
    drop(live);
    for object in objects {
        object.in_child();
    }
}
