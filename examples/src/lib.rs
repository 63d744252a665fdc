//! The first thirty seconds with llmd.
