//! llmd for C: the crates, translated.
