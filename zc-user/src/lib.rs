//! The user side of zc: from the kernel's maps to a report.
//!
//! `model` is the one truth and knows neither BPF nor a screen; `render` and `export` are views of it.

pub mod child;
pub mod cli;
pub mod collect;
pub mod daemon;
pub mod export;
pub mod history;
pub mod lab;
pub mod metrics;
pub mod model;
pub mod probe;
pub mod render;
pub mod resolve;
pub mod top;
pub mod units;
