//! The user side of zc.
pub mod probe;
