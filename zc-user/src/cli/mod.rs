//! The command line.

pub mod args;
mod attached;
pub mod check;
pub mod generate;
pub mod lab;
mod output;
pub mod run;
mod session;
pub mod units;
pub mod verify;
