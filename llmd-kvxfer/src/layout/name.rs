//! The names of orders.

use llmd_core::Result;
use smallvec::SmallVec;

use super::{Axis, invalid};

/// The axes that a name says, outermost first. Parts that it does not name are the innermost.
pub(super) fn order(name: &str) -> Result<SmallVec<[Axis; 5]>> {
    let letters = match name {
        "NHD" => "LBNHC",
        "HND" => "LBHNC",
        name => name,
    };
    let unknown = || {
        invalid(format!(
            "layout `{name}`, expected an order of L, B, H, N and perhaps P that ends with C, such as LBNHC, or NHD or HND"
        ))
    };
    let axes = letters.strip_suffix('C').ok_or_else(unknown)?;
    let mut order = SmallVec::new();
    for letter in axes.chars() {
        let axis = Axis::ALL.into_iter().find(|axis| axis.letter() == letter).ok_or_else(unknown)?;
        if order.contains(&axis) {
            return Err(unknown());
        }
        order.push(axis);
    }
    if !order.contains(&Axis::Part) {
        order.push(Axis::Part);
    }
    if order.len() < Axis::ALL.len() { Err(unknown()) } else { Ok(order) }
}
