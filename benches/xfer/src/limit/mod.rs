//! The machine itself: the same blocks moved with the plainest means, and nothing around them.

mod copy;
mod flag;
mod helper;
mod shm;
mod tcp;

use llmd_core::{Error, ErrorKind, Result};

use crate::family::{Family, Pull, Serve};

/// What no transfer can be much faster than.
#[derive(Debug)]
pub(crate) struct Limit;

impl Family for Limit {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn serve(&self, form: &str, pool: usize) -> Result<Box<dyn Serve>> {
        match form {
            "shm" => Ok(Box::new(shm::Holder::new(pool)?)),
            "tcp" => Ok(Box::new(tcp::Holder::new(pool)?)),
            _ => Err(unknown(form)),
        }
    }

    fn pull(&self, form: &str, pool: usize) -> Result<Box<dyn Pull>> {
        match form {
            "shm" => Ok(Box::new(shm::Puller::new(pool)?)),
            "tcp" => Ok(Box::new(tcp::Puller::new(pool)?)),
            _ => Err(unknown(form)),
        }
    }
}

fn unknown(form: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("no limit {form:?}: expected \"shm\" or \"tcp\""))
}
