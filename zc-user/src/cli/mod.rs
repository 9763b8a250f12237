//! The command line.

pub mod args;
mod attached;
pub mod check;
pub mod daemon;
pub mod generate;
pub mod lab;
mod output;
pub mod report;
pub mod run;
mod session;
pub mod top;
pub mod verify;
