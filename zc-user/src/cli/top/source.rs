//! Where looks come from: a daemon, or programs of zc's own.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::io::unix::AsyncFd;

use super::{
    super::args::{CapacityArgs, TopArgs},
    choose,
};
use crate::{
    daemon::{
        client::{self, ClientError},
        config::{Account, Capacity, Config},
        handle::Look,
        select::{Matcher, Selection},
        watch::Watch,
    },
    model::{Interval, Report},
};

/// Processes that have ended are in a daemon's reports for an interval of its own (15 s) at least; looked at so often, none is missed.
const LOOK: Duration = Duration::from_secs(5);
/// How often processes that have ended are forgotten, and new ones looked for, as a daemon does.
const FORGET: Duration = Duration::from_secs(15);
const SCAN: Duration = Duration::from_secs(1);
/// What a daemon sends: all processes, without named flows, as of now.
const REPORT: &str = "/v1/top?max_age=0ms&limit=4294967295";

/// What changed since the look before.
pub(super) struct Part {
    pub(super) interval: Interval,
    pub(super) seconds: f64,
}

/// Who traces.
pub(super) enum Source {
    /// A daemon, which is asked.
    Daemon(Box<Daemon>),
    /// zc itself.
    Own(Box<Own>),
}

/// A daemon, and what of its reports is wanted.
pub(super) struct Daemon {
    socket: PathBuf,
    choice: Matcher,
    follow: bool,
    previous: Arc<Look>,
    /// Something that was chosen has been there: a daemon that traces everything finds new processes once a second.
    has_begun: bool,
    note: Option<String>,
}

/// Programs of zc's own.
pub(super) struct Own {
    watch: Watch,
    ring: AsyncFd<OwnedFd>,
    pids_alone: bool,
    previous: Arc<Look>,
    last_forgotten: Instant,
    last_scan: Instant,
}

/// What a daemon says at first.
pub(super) enum Answer {
    /// It traces all that is chosen.
    Traces(Box<Daemon>),
    /// It does not trace this.
    DoesNot(String),
}

impl Daemon {
    /// Asks whether the daemon traces what is chosen.
    pub(super) async fn ask(socket: &Path, choice: &Matcher, follow: bool) -> Result<Answer, ClientError> {
        let strange = |error: &dyn std::fmt::Display| ClientError::Strange {
            socket: socket.to_owned(),
            message: error.to_string(),
        };
        let of_daemon: Selection = serde_json::from_slice(&client::fetch(socket, "/v1/selection").await?)
            .map_err(|error| strange(&error))?;
        let mut look = look_at(socket).await?;
        if let Some(gap) = choose::gap(choice.selection(), &of_daemon, &look.report) {
            return Ok(Answer::DoesNot(gap));
        }
        choose::keep(&mut look.report, choice, follow);
        Ok(Answer::Traces(Box::new(Self {
            socket: socket.to_owned(),
            choice: choice.clone(),
            follow,
            has_begun: !look.report.processes.is_empty(),
            previous: Arc::new(look),
            note: None,
        })))
    }

    async fn look(&mut self) -> anyhow::Result<Part> {
        let mut look = look_at(&self.socket).await.context("the daemon does not answer any more")?;
        choose::keep(&mut look.report, &self.choice, self.follow);
        // Another daemon has seen nothing of what the one before had.
        let is_same = look.report.window.start == self.previous.report.window.start;
        self.note = (!is_same).then(|| "the daemon was started again; this begins with its start".to_owned());
        self.has_begun |= !look.report.processes.is_empty();
        let part = part(is_same.then_some(&self.previous), &look);
        self.previous = Arc::new(look);
        Ok(part)
    }
}

async fn look_at(socket: &Path) -> Result<Look, ClientError> {
    let bytes = client::fetch(socket, REPORT).await?;
    let (taken, at) = (Timestamp::now(), Instant::now());
    let report: Report = serde_json::from_slice(&bytes).map_err(|error| ClientError::Strange {
        socket: socket.to_owned(),
        message: format!("its report is not one that this version of zc knows: {error}"),
    })?;
    Ok(Look { report, taken, at })
}

fn part(earlier: Option<&Arc<Look>>, later: &Look) -> Part {
    let before = earlier.map_or(0.0, |look| look.report.window.seconds);
    Part {
        interval: Interval::between(earlier.map(|look| &look.report), &later.report, later.taken),
        seconds: later.report.window.seconds - before,
    }
}

impl Own {
    /// Traces what is chosen, from now on.
    pub(super) fn start(args: &TopArgs, choice: Matcher) -> anyhow::Result<Self> {
        let config = Config {
            account: Account {
                follow: !args.no_follow,
                count_calls: args.count_calls,
                count_faults: !args.no_faults,
                sample_connections: args.sample_connections,
                ..Account::default()
            },
            capacity: capacity(&args.capacity),
            ..Config::default()
        };
        let selection = choice.selection();
        let pids_alone = *selection == Selection { pids: selection.pids.clone(), ..Selection::default() };
        let mut watch = Watch::start(&config, choice)?;
        let fd = watch.as_fd().try_clone_to_owned();
        // SAFETY: an owned descriptor stays the same until it is dropped.
        let ring = fd.and_then(|fd| unsafe { AsyncFd::register(fd) }.map_err(io::Error::from));
        let ring = ring.context("cannot wait for the ring buffer")?;
        watch.scan();
        if let Some(refusal) = watch.refusal().filter(|_| pids_alone) {
            anyhow::bail!("{refusal}");
        }
        if pids_alone && watch.alive() == 0 {
            anyhow::bail!(
                "there is nothing to trace: what was chosen has ended, or is a thread of the kernel"
            );
        }
        let previous = watch.look(Duration::ZERO)?;
        let now = Instant::now();
        Ok(Self { watch, ring, pids_alone, previous, last_forgotten: now, last_scan: now })
    }

    fn look(&mut self) -> anyhow::Result<Part> {
        let look = if self.is_due() {
            self.last_forgotten = Instant::now();
            self.watch.end_interval()?.0
        } else {
            self.watch.look(Duration::ZERO)?
        };
        let part = part(Some(&self.previous), &look);
        self.previous = look;
        Ok(part)
    }

    fn is_due(&self) -> bool {
        self.last_forgotten.elapsed() >= FORGET || self.watch.is_full()
    }
}

fn capacity(args: &CapacityArgs) -> Capacity {
    let CapacityArgs { rows_max, objects_max, threads_max, ring_bytes, pair_sets, flows_max } = *args;
    Capacity { rows_max, objects_max, threads_max, ring_bytes, pair_sets, flows_max }
}

impl Source {
    /// Its name in output.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Daemon(_) => "daemon",
            Self::Own(_) => "own",
        }
    }

    /// Processes that are traced and chosen, and live.
    pub(super) fn alive(&mut self) -> u64 {
        match self {
            Self::Daemon(daemon) => {
                let processes = daemon.previous.report.processes.iter();
                processes.filter(|process| process.exit_code.is_none()).count() as u64
            }
            Self::Own(own) => own.watch.alive(),
        }
    }

    /// What changed since the look before.
    pub(super) async fn look(&mut self) -> anyhow::Result<Part> {
        match self {
            Self::Daemon(daemon) => daemon.look().await,
            Self::Own(own) => own.look(),
        }
    }

    /// Whether something would be missed if nobody looked now.
    pub(super) fn is_due(&self) -> bool {
        match self {
            Self::Daemon(daemon) => daemon.previous.at.elapsed() >= LOOK,
            Self::Own(own) => own.is_due(),
        }
    }

    /// Whether nothing will come any more: processes were chosen by their ids alone, and all have ended.
    pub(super) fn has_ended(&mut self) -> bool {
        let pids_alone = match self {
            Self::Daemon(daemon) => {
                let choice = daemon.choice.selection();
                daemon.has_begun
                    && !choice.pids.is_empty()
                    && *choice == Selection { pids: choice.pids.clone(), ..Selection::default() }
            }
            Self::Own(own) => own.pids_alone,
        };
        pids_alone && self.alive() == 0
    }

    /// What is to be said below an interval.
    pub(super) fn notes(&self) -> Vec<String> {
        match self {
            Self::Daemon(daemon) => daemon.note.clone().into_iter().collect(),
            Self::Own(own) => {
                let refusal = own.watch.refusal();
                refusal.map(|why| format!("a process is not accounted for: {why}")).into_iter().collect()
            }
        }
    }

    /// Waits until the kernel has something to say.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Daemon(_) => std::future::pending().await,
            Self::Own(own) => {
                own.ring.readable().await?.clear_ready();
                Ok(())
            }
        }
    }

    /// Takes in what the kernel says, and looks for new processes when it is time.
    pub(super) fn tend(&mut self) {
        if let Self::Own(own) = self {
            own.watch.drain();
            if own.last_scan.elapsed() >= SCAN {
                own.watch.scan();
                own.last_scan = Instant::now();
            }
        }
    }
}
