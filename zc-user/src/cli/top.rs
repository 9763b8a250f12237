//! `zc top`.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{self, Duration, Instant},
};

use self::{
    screen::Screen,
    source::{Answer, Daemon, Own, Source},
    view::View,
};
use super::args::TopArgs;
use crate::{
    daemon::{client::ClientError, select::Matcher, watch::WatchError},
    probe::attach::Running,
    render::human,
    top::tally::Tally,
};

mod choose;
mod screen;
mod source;
mod view;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// It cannot be done by this user, or on this machine.
const NOT_SUPPORTED: u8 = 4;

/// How long nothing is done at most: new processes are looked for once a second.
const TICK: Duration = Duration::from_secs(1);

/// An error with the exit code for it.
type Failure = (anyhow::Error, u8);

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    (error.into(), FAILED)
}

/// Shows what processes move until somebody ends it; returns the exit code.
pub fn top(args: &TopArgs) -> u8 {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start the event loop").map_err(failed)?;
        runtime.block_on(run(args))
    };
    match run() {
        Ok(()) => 0,
        Err((error, code)) => {
            eprintln!("zc: {error:#}");
            code
        }
    }
}

async fn run(args: &TopArgs) -> Result<(), Failure> {
    // Before anything is loaded, so that nothing is cut short.
    let mut signals = Signals::new().context("cannot receive signals").map_err(failed)?;
    let source = source(args).await?;
    let view = View::open(args, source.name()).context("cannot use the terminal").map_err(failed)?;
    match show(args, source, view, &mut signals).await {
        // Nobody reads any more.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        result => result.map_err(failed),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A daemon that traces what is chosen, or programs of zc's own.
async fn source(args: &TopArgs) -> Result<Source, Failure> {
    let choice = args.selection().matcher().map_err(|error| (error.into(), USAGE))?;
    let say = |message: &str| {
        if !args.screen.quiet {
            eprintln!("zc: {message}");
        }
    };
    let is_chosen = !choice.selection().is_empty();
    if args.no_daemon && !is_chosen {
        let error = anyhow::anyhow!("say which processes, with -p PID, --comm NAME, --cgroup PATH or --all");
        return Err((error, USAGE));
    }
    // As long as they are open, each of these ids is the process that was meant.
    let pids = choice.selection().pids.iter();
    let _named = pids.map(|&pid| Running::open(pid)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if !args.no_daemon {
        match Daemon::ask(&args.socket, &choice, !args.no_follow).await {
            Ok(Answer::Traces(daemon)) => return Ok(Source::Daemon(daemon)),
            Ok(Answer::DoesNot(gap)) => {
                say(&format!("the daemon does not trace {gap}; zc traces what was chosen itself"));
            }
            Err(ClientError::NoDaemon { socket, source }) => {
                if !is_chosen {
                    let error = anyhow::anyhow!(
                        "no daemon answers at {} ({source}), and no processes are chosen: say which, with -p PID, \
                         --comm NAME, --cgroup PATH or --all, or start a daemon with `zc daemon`",
                        socket.display()
                    );
                    return Err((error, USAGE));
                }
            }
            Err(error @ ClientError::NotPermitted { .. }) => {
                if !is_chosen {
                    return Err((error.into(), NOT_SUPPORTED));
                }
                say(&format!("{error}; zc traces what was chosen itself"));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    own(args, choice).map(|own| Source::Own(Box::new(own)))
}

fn own(args: &TopArgs, choice: Matcher) -> Result<Own, Failure> {
    Own::start(args, choice).map_err(|error| {
        let code = match error.downcast_ref() {
            Some(WatchError::Session(_)) => NOT_SUPPORTED,
            _ => FAILED,
        };
        (error, code)
    })
}

/// What ends it, and what else is told by signals.
struct Signals {
    ends: [Signal; 4],
    resize: Signal,
    stop: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let end =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        let [interrupt, terminate, hangup, quit] = end.map(signal);
        Ok(Self {
            ends: [interrupt?, terminate?, hangup?, quit?],
            resize: signal(SignalKind::window_change())?,
            stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
        })
    }

    async fn end(ends: &mut [Signal; 4]) {
        let [interrupt, terminate, hangup, quit] = ends;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

async fn show(
    args: &TopArgs,
    mut source: Source,
    mut view: View,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let Signals { ends, resize, stop } = signals;
    if !args.screen.quiet && !view.is_screen() {
        let processes = human::plural(source.alive(), "process", "processes");
        let through = if matches!(source, Source::Daemon(_)) { " by the daemon" } else { "" };
        eprintln!("zc: watching {processes}{through}; Ctrl-C to end");
    }
    let mut tally = Tally::default();
    let mut next = Instant::now() + args.interval;
    let mut left = args.count.unwrap_or(u64::MAX);
    view.begin()?;
    loop {
        tokio::select! {
            () = time::sleep_until(next.min(Instant::now() + TICK)) => {}
            ready = source.readable() => ready.context("cannot wait for the ring buffer")?,
            key = view.key() => if view.press(key)? { return Ok(()) },
            _ = resize.recv() => view.again()?,
            _ = stop.recv() => view.stop()?,
            () = Signals::end(ends) => return Ok(()),
        }
        source.tend();
        let is_over = Instant::now() >= next;
        if !is_over && !source.is_due() {
            continue;
        }
        let part = tokio::select! {
            part = source.look() => part?,
            () = Signals::end(ends) => return Ok(()),
        };
        tally.add(&part.interval, part.seconds);
        if !is_over {
            continue;
        }
        // Intervals that nobody could look at, as zc was stopped or the machine asleep, are part of this one.
        let now = Instant::now();
        next = if next + args.interval > now { next + args.interval } else { now + args.interval };
        let mut frame = tally.close();
        frame.notes = source.notes();
        view.show(frame)?;
        left -= 1;
        if left == 0 || source.has_ended() {
            return Ok(());
        }
    }
}

/// Writes all of it, at once.
fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}
