//! The command line.

pub mod args;
pub mod check;
pub mod generate;
pub mod run;
pub mod units;
