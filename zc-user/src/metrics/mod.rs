//! Metrics: running sums over the intervals of a session, and their text for Prometheus and for readers of `OpenMetrics`.
//!
//! Nothing here knows BPF, sockets or clocks: an [`Interval`](crate::model::Interval) goes in, a text comes out.
//! `docs/metrics.md` lists every metric; a test holds the two together.

mod expose;
mod exposition;
pub mod families;
mod negotiate;
mod services;
mod slug;
mod sum;
mod text;
mod totals;

pub use expose::State;
pub use exposition::{Exposition, Family, Kind, Sample, Value};
pub use negotiate::{Form, negotiate};
pub use services::{Caps, NONE, OTHER, ServiceBy};
pub use slug::{REASONS, UNSTATED};
pub use totals::Totals;

#[cfg(test)]
mod tests;
