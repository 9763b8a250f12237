//! `zc`.
fn main() {}
