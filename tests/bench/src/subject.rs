//! What is known about each workload: how it is started and what a tracer must have seen of it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{
    bench::Bench,
    process,
    stats::{median, quantile},
    work::{RELAY_BYTES, Ran, SENDFILE_BYTES, TOUCHED_PAGES, Work},
};

impl Work {
    pub(crate) const ALL: [Self; 6] =
        [Self::Read, Self::Relay, Self::Sendfile, Self::Getppid, Self::Touch, Self::TouchFile];

    /// Those that tracers of calls are measured with.
    pub(crate) const CALLS: [Self; 4] = [Self::Read, Self::Relay, Self::Sendfile, Self::Getppid];

    /// The word that starts it, also in file formats.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Relay => "relay",
            Self::Sendfile => "sendfile",
            Self::Getppid => "getppid",
            Self::Touch => "touch",
            Self::TouchFile => "touch-file",
        }
    }

    /// What is done once.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Read => "read of 1 byte of /dev/zero",
            Self::Relay => "relay of 4 KiB: pread of one file, pwrite to another",
            Self::Sendfile => "sendfile of 64 KiB to loopback TCP",
            Self::Getppid => "getppid",
            Self::Touch => "mmap of 256 KiB of fresh memory, 64 page faults, munmap",
            Self::TouchFile => "mmap of 64 KiB of a file, a page fault that maps 16 pages, munmap",
        }
    }

    /// The tracepoints of the category `syscalls` at the ends of its calls; of what is only a bystander, those
    /// of what is traced beside it.
    pub(crate) const fn exits(self) -> &'static [&'static str] {
        match self {
            Self::Read => &["sys_exit_read"],
            Self::Relay => &["sys_exit_pread64", "sys_exit_pwrite64"],
            Self::Sendfile => &["sys_exit_sendfile64"],
            Self::Getppid => Self::Read.exits(),
            Self::Touch | Self::TouchFile => &["sys_exit_mmap", "sys_exit_munmap"],
        }
    }

    /// Its calls, as strace and perf call them.
    pub(crate) const fn calls(self) -> &'static [&'static str] {
        match self {
            Self::Read => &["read"],
            Self::Relay => &["pread64", "pwrite64"],
            Self::Sendfile => &["sendfile"],
            Self::Getppid => &["getppid"],
            Self::Touch | Self::TouchFile => &["mmap", "munmap"],
        }
    }

    /// Bytes that it moves in one go.
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::Read => 1,
            Self::Relay => RELAY_BYTES as u64,
            Self::Sendfile | Self::TouchFile => SENDFILE_BYTES as u64,
            Self::Getppid | Self::Touch => 0,
        }
    }

    /// Page faults in one go, at least.
    pub(crate) const fn faults(self) -> u64 {
        match self {
            Self::Touch => TOUCHED_PAGES as u64,
            Self::TouchFile => 1,
            _ => 0,
        }
    }

    /// How often it is done in a batch, and the number of batches.
    const fn size(self, pace: Pace) -> (u32, u32) {
        match (pace, self) {
            (Pace::Usual, Self::Read) => (1_000, 200),
            (Pace::Usual, Self::Relay) => (300, 150),
            (Pace::Usual, Self::Sendfile) => (20, 150),
            (Pace::Usual, Self::Getppid) => (2_000, 200),
            (Pace::Usual, Self::Touch) => (10, 150),
            (Pace::Usual, Self::TouchFile) => (50, 150),
            (Pace::Slow, _) => (10, 60),
        }
    }
}

/// How many calls a tool lets through in the time that there is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// A few hundred nanoseconds for a call.
    Usual,
    /// A hundred microseconds for a call.
    Slow,
}

/// One process that did a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Nanoseconds for one time, when nothing disturbs: below this are a tenth of the batches.
    ///
    /// Whatever else a machine does only ever makes a call take longer. The median of all batches is that of
    /// calls and disturbances, as soon as half of the batches have some.
    pub(crate) quiet_ns: f64,
    /// Nanoseconds for one time, with what disturbs: the median of the batches.
    pub(crate) median_ns: f64,
    /// How often it was done.
    pub(crate) times: u64,
}

impl Bench {
    /// The command that does a workload, with what is before it: nothing, or a tracer.
    pub(crate) fn work_command(&self, prefix: &[&str], work: Work, pace: Pace) -> Command {
        let (batch, batches) = work.size(pace);
        let own = self.own_program().to_string_lossy();
        let (dir, port) = (self.dir().to_string_lossy(), self.port().to_string());
        let (batch, batches) = (batch.to_string(), batches.to_string());
        let words = [&*own, "work", "do", work.name(), "--batch", &batch, "--batches", &batches];
        let words = words.into_iter().chain(["--dir", &*dir, "--port", &port]);
        let mut words = prefix.iter().copied().chain(words);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    /// Runs a command of `work_command` to its end.
    pub(crate) fn measure(&self, prefix: &[&str], work: Work, pace: Pace) -> Result<Measured> {
        self.measure_with(prefix, work, pace, &[])
    }

    /// The same with more options of the workload.
    pub(crate) fn measure_with(
        &self,
        prefix: &[&str],
        work: Work,
        pace: Pace,
        more: &[&str],
    ) -> Result<Measured> {
        let mut command = self.work_command(prefix, work, pace);
        command.args(more);
        let output = process::output(command)?;
        let ran = output.lines().find_map(|line| serde_json::from_str::<Ran>(line).ok());
        let Ran { times, mut ns } = ran.with_context(|| format!("{} reported nothing", work.name()))?;
        ensure!(!ns.is_empty(), "{} measured nothing", work.name());
        Ok(Measured { quiet_ns: quantile(&mut ns, 0.1), median_ns: median(&mut ns), times })
    }
}
