//! A command under a tracing session, from before its first instruction to the report: what `zc run` and `zc verify` share.

use std::{ffi::OsString, os::fd::AsFd as _, time::Duration};

use anyhow::Context as _;
use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    signalfd::{SfdFlags, SignalFd},
};
use tokio::{io::unix::AsyncFd, time};

use super::args::{CapacityArgs, TraceArgs, Wait};
use crate::{
    child::{Child, ChildError, HeldChild},
    collect::collector::Collector,
    model::{Report, account, report::Tool},
    probe::session::{Options, Session, Sizes},
};

/// zc failed before the command started.
const NOT_STARTED: u8 = 125;

/// How often the ring buffer is looked at; it wakes us up by itself when it fills faster.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// The same once the command has ended: its last thread may still have to leave its processor.
const LAST_TICK: Duration = Duration::from_millis(2);
/// How long the short ticks last; after that, there are other processes to wait for.
const LAST_TICKS: u32 = 100;
/// After how many ticks it is checked which processes still live whose end could have been missed.
pub(super) const TICKS_UNTIL_LOOK: u32 = 20;

/// What is run, and how it is traced.
pub(super) struct Plan<'a> {
    /// The command and its arguments.
    pub(super) command: &'a [OsString],
    /// What is traced and counted.
    pub(super) trace: &'a TraceArgs,
    /// Sizes of the kernel's maps.
    pub(super) capacity: &'a CapacityArgs,
    /// What to wait for.
    pub(super) wait: Wait,
    /// No messages.
    pub(super) quiet: bool,
}

/// What came of it.
pub(super) struct Ended {
    /// The command's exit code, or 128 + n after signal n.
    pub(super) code: u8,
    /// What was seen.
    pub(super) report: Report,
}

/// The exit code for what went wrong before the command started.
pub(super) fn exit_code_of(error: &anyhow::Error) -> u8 {
    error.downcast_ref().map_or(NOT_STARTED, ChildError::exit_code)
}

/// A command that runs, and what watches it.
pub(super) struct Running<'a> {
    plan: Plan<'a>,
    child: Child,
    collector: Collector,
    signals: SignalFd,
}

pub(super) fn sizes(capacity: &CapacityArgs) -> Sizes {
    Sizes {
        rows: capacity.rows_max,
        objects: capacity.objects_max,
        threads: capacity.threads_max,
        ring_bytes: capacity.ring_bytes,
        pair_sets: capacity.pair_sets,
        flows: capacity.flows_max,
    }
}

/// Signals that end or steer a command. Those that the terminal sends reach the command by themselves.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

impl<'a> Running<'a> {
    /// Everything up to the first instruction of the command, in an order in which each failure leaves nothing
    /// behind.
    pub(super) fn start(plan: Plan<'a>) -> anyhow::Result<Self> {
        // The command begins with the mask that zc was given.
        let mut mask = SigSet::empty();
        let ours: SigSet = PASSED_ON.into_iter().chain([Signal::SIGCHLD]).collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ours), Some(&mut mask)).context("cannot block signals")?;
        let signals = SignalFd::with_flags(&ours, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("cannot receive signals")?;
        let held = HeldChild::fork(plan.command, &mask)?;
        let options = Options {
            follow: !plan.trace.no_follow,
            count_calls: !plan.trace.no_count_calls,
            count_faults: !plan.trace.no_faults,
            root_pid: held.pid().as_raw().unsigned_abs(),
            attaches: false,
            self_stats: plan.trace.self_stats,
            connections_one_in: plan.trace.sample_connections,
            sizes: sizes(plan.capacity),
        };
        let session = Session::start(&options)?;
        let collector = Collector::new(session, options).context("cannot read the kernel's maps")?;
        Ok(Self { plan, child: held.release()?, collector, signals })
    }

    /// Waits for the end, and accounts for what was seen.
    pub(super) fn finish(mut self) -> anyhow::Result<Ended> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop")?;
        let code = runtime.block_on(self.wait())?;
        let samples = self.collector.finish().context("cannot read the kernel's maps")?;
        Ok(Ended { code, report: account::account(&samples, Tool::this()) })
    }

    /// Takes in what the kernel reports until the command, and with `--wait all` its children, have ended.
    async fn wait(&mut self) -> anyhow::Result<u8> {
        // SAFETY: an owned descriptor stays the same until it is dropped.
        let signals = unsafe { AsyncFd::register(self.signals.as_fd().try_clone_to_owned()?) }?;
        // SAFETY: as above.
        let ring = unsafe { AsyncFd::register(self.collector.as_fd().try_clone_to_owned()?) }?;
        let mut tick = interval(TICK);
        let mut ticks = 0_u32;
        let mut code = None;
        loop {
            tokio::select! {
                ready = signals.readable() => ready?.clear_ready(),
                ready = ring.readable() => ready?.clear_ready(),
                _ = tick.tick() => ticks += 1,
            }
            let interrupted = self.pass_signals_on();
            if code.is_none() {
                code = self.child.exit_code();
                if code.is_some() {
                    tick = interval(LAST_TICK);
                    ticks = 0;
                }
            } else if interrupted {
                break;
            }
            self.collector.drain();
            if code.is_none() {
                continue;
            }
            if self.collector.alive() == 0 || self.plan.wait == Wait::Command && ticks > LAST_TICKS {
                break;
            }
            if ticks == LAST_TICKS {
                self.announce_wait();
                tick = interval(TICK);
            }
            if ticks > 0 && ticks.is_multiple_of(TICKS_UNTIL_LOOK) {
                self.collector.look_for_the_living();
            }
        }
        Ok(code.unwrap_or(NOT_STARTED))
    }

    /// Passes on what was sent to zc alone; says whether somebody wants it to end.
    fn pass_signals_on(&self) -> bool {
        let mut interrupted = false;
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            let Ok(signal) = Signal::try_from(number) else { continue };
            if signal == Signal::SIGCHLD {
                continue;
            }
            interrupted |=
                matches!(signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGQUIT | Signal::SIGHUP);
            // What the terminal sends (`SI_KERNEL`) goes to the whole foreground process group.
            if info.ssi_code <= 0 {
                self.child.signal(signal);
            }
        }
        interrupted
    }

    fn announce_wait(&mut self) {
        let alive = self.collector.alive();
        if alive > 0 && self.plan.wait == Wait::All && !self.plan.quiet {
            let (are, them) = if alive == 1 { ("process is", "it") } else { ("processes are", "them") };
            eprintln!(
                "zc: the command has ended, {alive} of its {are} still running; waiting for {them} \
                 (Ctrl-C to report now, --wait command not to wait)"
            );
        }
    }
}

pub(super) fn interval(period: Duration) -> time::Interval {
    let mut interval = time::interval(period);
    interval.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    interval
}
