//! Rates: what moves between one look and the next, for `zc top`.
//!
//! [`tally::Tally`] takes in what changed ([`crate::model::Interval`]) and gives a [`frame::Frame`] at the end of each interval;
//! [`table`] and [`export`] are views of it. Nothing here knows a terminal or the kernel.

pub mod export;
pub mod frame;
pub mod numbers;
pub mod table;
pub mod tally;
