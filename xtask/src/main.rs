//! Builds, tests and packages zc.
fn main() {}
