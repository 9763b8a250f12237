//! `zc lab`: the textbook's table as real workloads on this machine, traced by zc itself.
//!
//! `rows` and `table` are the textbook as data; `plan` says which processes do it; `worker` and `workloads` are those processes; `run`
//! starts and traces them; `measure` (report → numbers of a transfer) and `judge` (numbers against the textbook)
//! are pure.

pub mod answer;
pub mod appends;
mod csv;
#[cfg(test)]
mod fixture;
pub mod judge;
pub mod measure;
pub mod plan;
pub mod rows;
pub mod run;
mod table;
pub mod tell;
pub mod worker;
mod workloads;
