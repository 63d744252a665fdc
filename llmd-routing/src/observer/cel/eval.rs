//! What comes of an expression.

use llmd_core::Result;

use super::{Comparison, Field, Node, Operator, Value, fault};
use crate::Usage;

/// What comes of `node` for this usage.
pub(super) fn eval(node: &Node, usage: &Usage) -> Result<Value> {
    Ok(match node {
        Node::Bool(value) => Value::Bool(*value),
        Node::Double(number) => Value::Double(*number),
        Node::Int(number) => Value::Int(*number),
        Node::Field(field) => Value::Double(count(*field, usage)?),
        Node::Has(field) => Value::Bool(field.of(usage).is_some()),
        Node::Not(inner) => Value::Bool(!condition(inner, usage)?),
        Node::Negate(inner) => match eval(inner, usage)? {
            Value::Int(number) => Value::Int(number.checked_neg().ok_or_else(overflow)?),
            other => Value::Double(-double(other)),
        },
        Node::ToDouble(inner) => Value::Double(double(eval(inner, usage)?)),
        Node::ToInt(inner) => match eval(inner, usage)? {
            Value::Int(number) => Value::Int(number),
            other => Value::Int(whole(double(other))?),
        },
        Node::And(left, right) => Value::Bool(either(false, left, right, usage)?),
        Node::Or(left, right) => Value::Bool(either(true, left, right, usage)?),
        Node::Arithmetic(operator, left, right) => match (eval(left, usage)?, eval(right, usage)?) {
            (Value::Int(left), Value::Int(right)) => Value::Int(of_ints(*operator, left, right)?),
            (left, right) => Value::Double(of_doubles(*operator, double(left), double(right))),
        },
        Node::Compare(comparison, left, right) => {
            Value::Bool(compare(*comparison, eval(left, usage)?, eval(right, usage)?))
        }
        Node::Choose(asked, then, other) => {
            let chosen = if condition(asked, usage)? { then } else { other };
            eval(chosen, usage)?
        }
    })
}

/// A double without what is behind its point.
pub(super) fn whole(number: f64) -> Result<i64> {
    // The ends are not whole numbers of 64 bits: CEL takes neither.
    if number > i64::MIN as f64 && number < i64::MAX as f64 {
        Ok(number as i64)
    } else {
        Err(fault(format!("number {number} does not fit into a whole number of 64 bits")))
    }
}

/// Whether one of two conditions is `decides`, which it is even if the other cannot be found out.
fn either(decides: bool, left: &Node, right: &Node, usage: &Usage) -> Result<bool> {
    match condition(left, usage) {
        Ok(value) if value == decides => Ok(decides),
        Ok(_) => condition(right, usage),
        Err(error) => match condition(right, usage) {
            Ok(value) if value == decides => Ok(decides),
            _ => Err(error),
        },
    }
}

fn condition(node: &Node, usage: &Usage) -> Result<bool> {
    match eval(node, usage)? {
        Value::Bool(value) => Ok(value),
        Value::Double(_) | Value::Int(_) => Err(fault("a number where a condition was expected")),
    }
}

fn count(field: Field, usage: &Usage) -> Result<f64> {
    let count = field.of(usage).ok_or_else(|| {
        let path = Field::PATHS.iter().find(|(_, known)| *known == field).map_or("", |(path, _)| path);
        fault(format!("usage.{path} is not there"))
    })?;
    Ok(count as f64)
}

/// As a double. A condition never stands where a number does: the kinds of an expression fit.
const fn double(value: Value) -> f64 {
    match value {
        Value::Bool(value) => value as u8 as f64,
        Value::Double(number) => number,
        Value::Int(number) => number as f64,
    }
}

fn of_ints(operator: Operator, left: i64, right: i64) -> Result<i64> {
    if right == 0 && matches!(operator, Operator::Divide | Operator::Remainder) {
        return Err(fault("a whole number is divided by 0"));
    }
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        Operator::Remainder => left.checked_rem(right),
    };
    result.ok_or_else(overflow)
}

fn of_doubles(operator: Operator, left: f64, right: f64) -> f64 {
    match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Remainder => left % right,
    }
}

fn compare(comparison: Comparison, left: Value, right: Value) -> bool {
    let order = match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(&right)),
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(&right)),
        (left, right) => double(left).partial_cmp(&double(right)),
    };
    match comparison {
        Comparison::Less => order.is_some_and(|order| order.is_lt()),
        Comparison::LessOrEqual => order.is_some_and(|order| order.is_le()),
        Comparison::Greater => order.is_some_and(|order| order.is_gt()),
        Comparison::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
        Comparison::Equal => order.is_some_and(|order| order.is_eq()),
        Comparison::NotEqual => order.is_none_or(|order| order.is_ne()),
    }
}

fn overflow() -> llmd_core::Error {
    fault("a whole number does not fit into 64 bits")
}
