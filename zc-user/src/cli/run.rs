//! `zc run`.

use std::{os::fd::AsFd as _, time::Duration};

use anyhow::Context as _;
use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    signalfd::{SfdFlags, SignalFd},
};
use tokio::{io::unix::AsyncFd, time};

use super::{
    args::{CapacityArgs, RunArgs, Wait},
    output::Output,
};
use crate::{
    child::{Child, HeldChild},
    collect::collector::Collector,
    export,
    model::{account, report::Tool},
    probe::session::{Options, Session, Sizes},
};

/// zc failed before the command started.
const NOT_STARTED: u8 = 125;

/// How often the ring buffer is looked at; it wakes us up by itself when it fills faster.
const TICK: Duration = Duration::from_millis(50);
/// The same once the command has ended: its last thread may still have to leave its processor.
const LAST_TICK: Duration = Duration::from_millis(2);
/// How long the short ticks last; after that, there are other processes to wait for.
const LAST_TICKS: u32 = 100;
/// After how many ticks it is checked which processes still live whose end could have been missed.
const TICKS_UNTIL_LOOK: u32 = 20;

/// Runs a command, traced; returns its exit code.
pub fn run(args: &RunArgs) -> u8 {
    match start(args) {
        Ok((running, output)) => running.finish(args, output),
        Err(error) => {
            eprintln!("zc: {error:#}");
            error.downcast_ref().map_or(NOT_STARTED, crate::child::ChildError::exit_code)
        }
    }
}

/// A command that runs, and what watches it.
struct Running {
    child: Child,
    collector: Collector,
    signals: SignalFd,
}

/// Everything up to the first instruction of the command, in an order in which each failure leaves nothing
/// behind.
fn start(args: &RunArgs) -> anyhow::Result<(Running, Output)> {
    let output = Output::open(args.report.output.as_deref())?;
    // The command begins with the mask that zc was given.
    let mut mask = SigSet::empty();
    let ours: SigSet = PASSED_ON.into_iter().chain([Signal::SIGCHLD]).collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ours), Some(&mut mask)).context("cannot block signals")?;
    let signals = SignalFd::with_flags(&ours, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("cannot receive signals")?;
    let held = HeldChild::fork(&args.command, &mask)?;
    let options = Options {
        follow: !args.trace.no_follow,
        count_calls: !args.trace.no_count_calls,
        count_faults: !args.trace.no_faults,
        root_pid: held.pid().as_raw().unsigned_abs(),
        self_stats: args.trace.self_stats,
        sizes: sizes(&args.capacity),
    };
    let session = Session::start(&options)?;
    let collector = Collector::new(session, options).context("cannot read the kernel's maps")?;
    Ok((Running { child: held.release()?, collector, signals }, output))
}

fn sizes(capacity: &CapacityArgs) -> Sizes {
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

impl Running {
    /// Waits for the end and reports. The exit code is the command's whatever happens to the report, unless
    /// there is none.
    fn finish(mut self, args: &RunArgs, output: Output) -> u8 {
        let waited = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop")
            .and_then(|runtime| runtime.block_on(self.wait(args)));
        let reported = waited.and_then(|code| {
            self.report(args, output)?;
            Ok(code)
        });
        reported.unwrap_or_else(|error| {
            eprintln!("zc: {error:#}");
            1
        })
    }

    /// Takes in what the kernel reports until the command, and with `--wait all` its children, have ended.
    async fn wait(&mut self, args: &RunArgs) -> anyhow::Result<u8> {
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
            if self.collector.alive() == 0 || args.wait == Wait::Command && ticks > LAST_TICKS {
                break;
            }
            if ticks == LAST_TICKS {
                self.announce_wait(args);
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

    fn announce_wait(&mut self, args: &RunArgs) {
        let alive = self.collector.alive();
        if alive > 0 && args.wait == Wait::All && !args.screen.quiet {
            let (are, them) = if alive == 1 { ("process is", "it") } else { ("processes are", "them") };
            eprintln!(
                "zc: the command has ended, {alive} of its {are} still running; waiting for {them} \
                 (Ctrl-C to report now, --wait command not to wait)"
            );
        }
    }

    fn report(self, args: &RunArgs, mut output: Output) -> anyhow::Result<()> {
        let samples = self.collector.finish().context("cannot read the kernel's maps")?;
        let report = account::account(&samples, Tool::this());
        let options =
            args.report.options(args.screen.verbose, output.color(args.screen.color), Output::ascii());
        export::write(&report, args.report.format, &options, &mut output.writer)
            .and_then(|()| output.writer.flush())
            .with_context(|| format!("cannot write the report to {}", output.name))
    }
}

fn interval(period: Duration) -> time::Interval {
    let mut interval = time::interval(period);
    interval.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    interval
}
