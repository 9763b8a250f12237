//! Processes that run already under a tracing session, until they end or time is up.

use std::{os::fd::AsFd as _, time::Duration};

use anyhow::Context as _;
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use tokio::{io::unix::AsyncFd, time};

use super::{
    args::{CapacityArgs, TraceArgs, Wait},
    session::{TICK, TICKS_UNTIL_LOOK, interval, sizes},
};
use crate::{
    collect::collector::Collector,
    model::{Report, account, report::Tool},
    probe::{
        attach::{Attached, Running},
        session::{Options, Session, SessionError},
    },
};

/// It could not be done.
const FAILED: u8 = 1;
/// It cannot be done by this user, or on this machine.
const NOT_SUPPORTED: u8 = 4;

/// What ends the session, as the end of the last process does. The processes themselves are left alone.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Which processes are traced, and how.
pub(super) struct Plan<'a> {
    /// Their ids, as the caller knows them.
    pub(super) pids: &'a [u32],
    /// How long; for good when there is none.
    pub(super) duration: Option<Duration>,
    /// What is traced and counted.
    pub(super) trace: &'a TraceArgs,
    /// Sizes of the kernel's maps.
    pub(super) capacity: &'a CapacityArgs,
    /// What to wait for.
    pub(super) wait: Wait,
    /// No messages.
    pub(super) quiet: bool,
}

/// The exit code for what went wrong before there was something to report.
pub(super) fn exit_code_of(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<SessionError>().is_some() { NOT_SUPPORTED } else { FAILED }
}

/// Processes that are traced, and what watches them.
pub(super) struct Watched<'a> {
    plan: Plan<'a>,
    collector: Collector,
    attached: Vec<Attached>,
    signals: SignalFd,
}

impl<'a> Watched<'a> {
    /// Traces all of the processes, or none.
    pub(super) fn start(plan: Plan<'a>) -> anyhow::Result<Self> {
        let ours: SigSet = ENDING.into_iter().collect();
        ours.thread_block().context("cannot block signals")?;
        let signals = SignalFd::with_flags(&ours, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("cannot receive signals")?;
        // Before anything else, as from here on each of them is the one that was meant.
        let running = plan.pids.iter().map(|&pid| Running::open(pid)).collect::<Result<Vec<_>, _>>()?;
        let options = Options {
            follow: !plan.trace.no_follow,
            count_calls: !plan.trace.no_count_calls,
            count_faults: !plan.trace.no_faults,
            root_pid: 0,
            attaches: true,
            self_stats: plan.trace.self_stats,
            connections_one_in: plan.trace.sample_connections,
            sizes: sizes(plan.capacity),
        };
        let session = Session::start(&options)?;
        let mut collector = Collector::new(session, options).context("cannot read the kernel's maps")?;
        let attached = collector.attach(&running)?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let watched = Self { plan, collector, attached, signals };
        watched.announce();
        Ok(watched)
    }

    fn announce(&self) {
        if self.plan.quiet {
            return;
        }
        let count = |number: u64, one: &str, many: &str| {
            if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
        };
        let processes = count(self.attached.len() as u64, "process", "processes");
        let threads = count(self.attached.iter().map(|process| process.threads).sum(), "thread", "threads");
        eprintln!("zc: watching {processes} with {threads}; Ctrl-C to end");
    }

    /// Waits for the end, and accounts for what was seen.
    pub(super) fn finish(mut self) -> anyhow::Result<Report> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop")?;
        runtime.block_on(self.wait())?;
        let samples = self.collector.finish().context("cannot read the kernel's maps")?;
        Ok(account::account(&samples, Tool::this()))
    }

    /// Takes in what the kernel reports until the processes, and with `--wait all` their children, have ended, time is up, or
    /// somebody wants it to end.
    async fn wait(&mut self) -> anyhow::Result<()> {
        // SAFETY: an owned descriptor stays the same until it is dropped.
        let signals = unsafe { AsyncFd::register(self.signals.as_fd().try_clone_to_owned()?) }?;
        // SAFETY: as above.
        let ring = unsafe { AsyncFd::register(self.collector.as_fd().try_clone_to_owned()?) }?;
        // A point in time that is too far away is none.
        let end = self.plan.duration.and_then(|duration| time::Instant::now().checked_add(duration));
        let mut tick = interval(TICK);
        let mut ticks = 0_u32;
        loop {
            tokio::select! {
                ready = signals.readable() => ready?.clear_ready(),
                ready = ring.readable() => ready?.clear_ready(),
                _ = tick.tick() => ticks = ticks.wrapping_add(1),
                () = until(end) => return Ok(()),
            }
            self.collector.drain();
            if self.is_interrupted() || self.has_ended() {
                return Ok(());
            }
            if ticks.is_multiple_of(TICKS_UNTIL_LOOK) {
                self.collector.look_for_the_living();
            }
        }
    }

    fn is_interrupted(&self) -> bool {
        self.signals.read_signal().is_ok_and(|signal| signal.is_some())
    }

    fn has_ended(&mut self) -> bool {
        match self.plan.wait {
            Wait::All => self.collector.alive() == 0,
            Wait::Command => !self.attached.iter().any(|process| self.collector.is_alive(process)),
        }
    }
}

/// Waits for a point in time, or for ever.
async fn until(end: Option<time::Instant>) {
    match end {
        Some(end) => time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
