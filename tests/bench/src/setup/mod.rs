//! What is attached while a workload runs, each with its own way to make sure that it was.

mod bpftrace;
pub(crate) mod floor;
mod ptrace;
mod zc;

use anyhow::Result;

pub(crate) use self::zc::{Mode, bytes_of, read, warn_of_losses};
use self::{bpftrace::Script, ptrace::Tool};
use crate::{
    bench::Bench,
    subject::{Measured, Pace},
    work::Work,
};

/// What is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setup {
    /// Nothing.
    Nothing,
    /// Nothing either: what the difference of two equal things looks like on this machine.
    NothingAgain,
    /// zc's empty program on the ends of the very calls.
    FloorExit,
    /// zc's empty program on the ends of all calls.
    FloorAll,
    /// The process is run by `zc run`.
    Traced(Mode),
    /// Another process is run by `zc run`.
    Beside(Mode),
    /// bpftrace counts calls and bytes by process and descriptor.
    BpftraceSums,
    /// bpftrace counts calls and bytes by process.
    BpftraceExit,
    /// `perf trace -s`.
    PerfTrace,
    /// `strace -c`.
    StraceAll,
    /// `strace -c` of the very calls.
    StraceSome,
    /// The same with a filter that lets other calls pass.
    StraceSeccomp,
}

impl Setup {
    pub(crate) const ALL: [Self; 14] = [
        Self::Nothing,
        Self::FloorExit,
        Self::FloorAll,
        Self::Traced(Mode::AllCalls),
        Self::Traced(Mode::DataCalls),
        Self::BpftraceSums,
        Self::BpftraceExit,
        Self::Beside(Mode::AllCalls),
        Self::Beside(Mode::DataCalls),
        Self::NothingAgain,
        Self::PerfTrace,
        Self::StraceAll,
        Self::StraceSome,
        Self::StraceSeccomp,
    ];

    /// Its name in file formats.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::NothingAgain => "nothing-again",
            Self::FloorExit => "floor-exit",
            Self::FloorAll => "floor-all",
            Self::Traced(Mode::AllCalls) => "zc",
            Self::Traced(Mode::DataCalls) => "zc-data",
            Self::Beside(Mode::AllCalls) => "beside-zc",
            Self::Beside(Mode::DataCalls) => "beside-zc-data",
            Self::BpftraceSums => "bpftrace-sums",
            Self::BpftraceExit => "bpftrace-exit",
            Self::PerfTrace => "perf-trace",
            Self::StraceAll => "strace-all",
            Self::StraceSome => "strace-some",
            Self::StraceSeccomp => "strace-seccomp",
        }
    }

    /// What it is, for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing attached",
            Self::NothingAgain => "nothing attached, again",
            Self::FloorExit => "empty program on this call's exit tracepoint",
            Self::FloorAll => "empty program on every call (tp_btf sys_exit)",
            Self::Traced(Mode::AllCalls) => "traced by `zc run`",
            Self::Traced(Mode::DataCalls) => "traced by `zc run --no-count-calls`",
            Self::Beside(Mode::AllCalls) => "beside a `zc run` of another process",
            Self::Beside(Mode::DataCalls) => "beside a `zc run --no-count-calls`",
            Self::BpftraceSums => "bpftrace, enter and exit: calls, bytes by pid and fd",
            Self::BpftraceExit => "bpftrace, exit only: calls, bytes by pid",
            Self::PerfTrace => "perf trace -s",
            Self::StraceAll => "strace -c",
            Self::StraceSome => "strace -c -e trace=(this call)",
            Self::StraceSeccomp => "strace -c -f --seccomp-bpf -e trace=(this call)",
        }
    }

    /// What it is beside a workload. Tracers of data look at reads while the bystander does something else.
    pub(crate) const fn title_of(self, work: Work) -> &'static str {
        match (self, work) {
            (Self::FloorExit, Work::Getppid) => "empty program on the exit tracepoint of read",
            (Self::StraceSome, Work::Getppid) => "strace -c -e trace=read",
            (Self::StraceSeccomp, Work::Getppid) => "strace -c -f --seccomp-bpf -e trace=read",
            _ => self.title(),
        }
    }

    /// The setup of a name.
    pub(crate) fn of_id(id: &str) -> Result<Self, String> {
        let ids = || Self::ALL.map(Self::id).join(", ");
        Self::ALL.into_iter().find(|setup| setup.id() == id).ok_or_else(|| format!("one of {}", ids()))
    }

    /// The program that it takes beside zc.
    pub(crate) const fn program(self) -> Option<&'static str> {
        match self {
            Self::BpftraceSums | Self::BpftraceExit => Some("bpftrace"),
            Self::PerfTrace => Some("perf"),
            Self::StraceAll | Self::StraceSome | Self::StraceSeccomp => Some("strace"),
            _ => None,
        }
    }

    /// It is in every so many rounds: what takes seconds and is far from everything else need not be in each.
    pub(crate) const fn every(self) -> u32 {
        match self {
            // To attach and detach many tracepoints takes a second.
            Self::Traced(Mode::DataCalls)
            | Self::Beside(Mode::DataCalls)
            | Self::BpftraceSums
            | Self::BpftraceExit => 2,
            Self::PerfTrace | Self::StraceAll | Self::StraceSome | Self::StraceSeccomp => 3,
            _ => 1,
        }
    }

    /// The workloads that it is measured with.
    pub(crate) fn works(self, quick: bool) -> &'static [Work] {
        match self.program() {
            Some("perf" | "strace") if quick => &[Work::Read],
            Some(_) => &Work::CALLS,
            None if matches!(self, Self::FloorExit | Self::FloorAll) => &Work::CALLS,
            None => &Work::ALL,
        }
    }

    /// Measures workloads: nanoseconds for one time of each.
    pub(crate) fn measure(self, bench: &mut Bench, works: &[Work]) -> Result<Vec<(Work, Measured)>> {
        match self {
            Self::Nothing | Self::NothingAgain => {
                if let Some(other) = floor::foreign_programs() {
                    bench.warn(other);
                    bench.foreign = true;
                }
                each(works, |work| bench.measure(&[], work, Pace::Usual))
            }
            Self::FloorExit => each(works, |work| {
                let _attached = bench.floor.on_exits(work.exits())?;
                bench.measure(&[], work, Pace::Usual)
            }),
            Self::FloorAll => {
                let _attached = bench.floor.on_all_calls()?;
                each(works, |work| bench.measure(&[], work, Pace::Usual))
            }
            Self::Traced(mode) => each(works, |work| zc::traced(bench, mode, work)),
            Self::Beside(mode) => zc::beside(bench, mode, works),
            Self::BpftraceSums => bpftrace::measure(bench, Script::Sums, works),
            Self::BpftraceExit => bpftrace::measure(bench, Script::ExitOnly, works),
            Self::PerfTrace => each(works, |work| ptrace::measure(bench, Tool::Perf, work)),
            Self::StraceAll => each(works, |work| ptrace::measure(bench, Tool::StraceAll, work)),
            Self::StraceSome => each(works, |work| ptrace::measure(bench, Tool::StraceSome, work)),
            Self::StraceSeccomp => each(works, |work| ptrace::measure(bench, Tool::StraceSeccomp, work)),
        }
    }
}

fn each(works: &[Work], mut measure: impl FnMut(Work) -> Result<Measured>) -> Result<Vec<(Work, Measured)>> {
    works.iter().map(|&work| Ok((work, measure(work)?))).collect()
}
