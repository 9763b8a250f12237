//! Processes, paths, flows and verdicts: the one truth that every view shows.
//!
//! [`samples::Samples`] goes in, [`report::Report`] comes out of [`account::account`].

pub mod account;
pub mod copies;
mod direct;
mod entries;
mod facts;
#[cfg(test)]
pub(crate) mod fixture;
mod flows;
pub mod inside;
pub mod interval;
mod names;
mod nullable;
mod pages;
pub mod reason;
pub mod report;
pub mod samples;
pub mod seen;
mod tls;
pub mod totals;
pub mod verdict;
pub mod verify;

pub use account::account;
pub use interval::Interval;
pub use report::Report;
pub use samples::Samples;
