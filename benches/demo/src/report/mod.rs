//! What is shown and written: tables, pictures, figures.

pub(crate) mod faults;
pub(crate) mod files;
pub(crate) mod gates;
pub(crate) mod json;
pub(crate) mod plot;
pub(crate) mod race;
pub(crate) mod svg;
pub(crate) mod table;

/// Seconds, with as many digits as fit the eye.
fn seconds(ms: f64) -> String {
    let seconds = ms / 1000.0;
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}
