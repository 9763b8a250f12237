//! Sums over processes.

use std::collections::HashSet;

use super::{
    copies::sum_of_known,
    report::{ContextSwitches, PageFaults, Process, Report},
};

/// What several processes did together. A number that one of them does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many processes.
    pub processes: u64,
    /// System calls of every kind.
    pub syscalls: Option<u64>,
    /// Mode switches by system calls.
    pub mode_switches_syscall: Option<u64>,
    /// Mode switches by page faults.
    pub mode_switches_exception: Option<u64>,
    /// Context switches.
    pub context_switches: Option<ContextSwitches>,
    /// Page faults.
    pub page_faults: Option<PageFaults>,
    /// System calls of path rows.
    pub path_syscalls: u64,
    /// Payload.
    pub bytes: u64,
    /// Bytes copied by the processor, as far as known.
    pub cpu_copied_bytes: Option<u64>,
    /// Bytes handed on by reference, as far as known.
    pub by_reference_bytes: Option<u64>,
    /// Payload of which it is not known.
    pub unknown_bytes: u64,
}

impl Totals {
    /// Adds up processes.
    pub fn of<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Self {
        let mut totals = Self {
            syscalls: Some(0),
            mode_switches_syscall: Some(0),
            mode_switches_exception: Some(0),
            context_switches: Some(ContextSwitches::default()),
            page_faults: Some(PageFaults::default()),
            ..Self::default()
        };
        for process in processes {
            totals.add(process);
        }
        totals
    }

    fn add(&mut self, process: &Process) {
        let both = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        self.processes += 1;
        self.syscalls = both(self.syscalls, process.syscalls);
        self.mode_switches_syscall = both(self.mode_switches_syscall, process.mode_switches.syscall);
        self.mode_switches_exception = both(self.mode_switches_exception, process.mode_switches.exception);
        self.context_switches =
            self.context_switches.zip(process.context_switches).map(|(a, b)| ContextSwitches {
                voluntary: a.voluntary + b.voluntary,
                involuntary: a.involuntary + b.involuntary,
            });
        self.page_faults = self.page_faults.zip(process.page_faults).map(|(a, b)| PageFaults {
            minor: a.minor + b.minor,
            major: a.major + b.major,
            copy_on_write: None,
        });
        for figures in process.paths.iter().map(|row| &row.figures) {
            self.path_syscalls += figures.syscalls;
            self.bytes += figures.bytes;
            self.cpu_copied_bytes = sum_of_known(self.cpu_copied_bytes, figures.cpu_copied_bytes);
            self.by_reference_bytes = sum_of_known(self.by_reference_bytes, figures.by_reference_bytes);
            self.unknown_bytes += figures.unknown_bytes;
        }
    }
}

impl Report {
    /// Leaves out processes that are not wanted, and their flows.
    pub fn keep(&mut self, is_wanted: impl Fn(&Process) -> bool) {
        self.processes.retain(is_wanted);
        let kept: HashSet<_> = self.processes.iter().map(|process| (process.pid, process.start_ns)).collect();
        self.flows.retain(|flow| kept.contains(&(flow.pid, flow.start_ns)));
    }

    /// Sums over all processes of the report.
    pub fn totals(&self) -> Totals {
        Totals::of(&self.processes)
    }
}

impl Process {
    /// Payload of all its paths.
    pub fn bytes(&self) -> u64 {
        self.paths.iter().map(|row| row.figures.bytes).sum()
    }

    /// Bytes copied by the processor for it, as far as known.
    pub fn cpu_copied_bytes(&self) -> u64 {
        self.paths.iter().filter_map(|row| row.figures.cpu_copied_bytes).sum()
    }

    /// System calls of every kind; of its paths alone when others were not counted.
    pub fn calls(&self) -> u64 {
        self.syscalls.unwrap_or_else(|| self.paths.iter().map(|row| row.figures.syscalls).sum())
    }
}
