//! The command line.

pub mod args;
pub mod generate;
pub mod run;
pub mod units;
