//! From the kernel's maps and ring buffer to [`Samples`](crate::model::samples::Samples).
//!
//! `record` and `state` are pure; `collector`, `look`, `sweep`, `batch`, `live` and `attached` touch the machine.

pub(crate) mod attached;
mod batch;
pub mod collector;
mod live;
mod look;
mod name;
mod record;
pub mod state;
mod sweep;
