//! From the kernel's maps and ring buffer to [`Samples`](crate::model::samples::Samples).
//!
//! `record` and `state` are pure; `collector`, `live` and `attached` touch the machine.

mod attached;
pub mod collector;
mod live;
mod name;
mod record;
pub mod state;
