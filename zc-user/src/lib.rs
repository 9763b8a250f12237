//! The user side of zc.
