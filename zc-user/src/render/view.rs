//! What every view does before it shows anything: order.

use std::cmp::Reverse;

use crate::model::report::Process;

/// Order of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Most bytes moved first.
    #[default]
    Bytes,
    /// Most bytes copied by the processor first.
    Copied,
    /// Most system calls first.
    Calls,
    /// Lowest process id first.
    Pid,
}

/// Sorts; what is equal stays in the order in which it started.
pub fn sort(processes: &mut [Process], order: Sort) {
    processes.sort_by_key(|process| (process.start_ns, process.pid));
    match order {
        Sort::Bytes => processes.sort_by_key(|process| Reverse(process.bytes())),
        Sort::Copied => processes.sort_by_key(|process| Reverse(process.cpu_copied_bytes())),
        Sort::Calls => processes.sort_by_key(|process| Reverse(process.calls())),
        Sort::Pid => processes.sort_by_key(|process| process.pid),
    }
}
