//! The processes that are chosen, under a session that goes on.

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use aya::maps::MapError;
use jiff::Timestamp;
use zc_common::loss::Loss;

use super::{
    config::Config,
    handle::{AskError, Health, HealthStatus, Look},
    scan::Scanner,
    select::{Matcher, Selection},
};
use crate::{
    collect::{collector::Collector, state::ProcessKey},
    model::{
        Interval,
        account::account,
        report::{HookStatus, Tool},
    },
    probe::{
        attach::{AttachError, Attached, Running},
        facts::perf_events_advice,
        session::{Options, Session, SessionError},
    },
};

/// So many processes that have ended are not kept until the next interval is over.
const ENDED_MAX: usize = 4096;

/// Losses after which all bytes are still there.
const NAMES_ALONE: [Loss; 2] = [Loss::FlowsOverflow, Loss::ObjectsFull];

/// Threads are asked for their rows at the end of every so many intervals.
const INTERVALS_OF_SWEEP: u64 = 4;

/// Why the daemon cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Nothing can be traced.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The maps cannot be read.
    #[error("cannot read the kernel's maps: {0}")]
    Maps(#[from] MapError),
}

/// What is accounted for.
pub struct Watch {
    collector: Collector,
    matcher: Matcher,
    scanner: Scanner,
    /// By the ids that /proc has.
    attached: HashMap<u32, Attached>,
    latest: Option<Arc<Look>>,
    /// The look that ended the last interval.
    previous: Option<Arc<Look>>,
    /// Processes that had ended then.
    ended: HashSet<ProcessKey>,
    start: Timestamp,
    since: Instant,
    looks: u64,
    intervals: u64,
    look_time: Duration,
    processes_ended: u64,
    /// Why processes that are chosen are not accounted for, by id.
    refused: HashMap<u32, String>,
    attach_error: Option<String>,
    look_error: Option<String>,
}

/// Starts a session. Where the kernel leaves perf events to `CAP_SYS_ADMIN`, as Debian's do by default, calls of every kind are counted
/// though nobody has asked for it: the one program that does so needs none.
fn start(options: Options) -> Result<(Session, Options), SessionError> {
    match Session::start(&options) {
        Ok(session) => Ok((session, options)),
        Err(error @ SessionError::Hook { .. }) if !options.count_calls && perf_events_advice().is_some() => {
            let options = Options { count_calls: true, ..options };
            let session = Session::start(&options)?;
            tracing::warn!(%error, "calls of every kind are counted instead");
            Ok((session, options))
        }
        Err(error) => Err(error),
    }
}

impl AsFd for Watch {
    /// Readable when the ring buffer fills up.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.collector.as_fd()
    }
}

impl Watch {
    /// Loads and attaches the kernel side. Nothing is traced yet.
    pub fn start(config: &Config, matcher: Matcher) -> Result<Self, WatchError> {
        let account = &config.account;
        let options = Options {
            follow: account.follow,
            count_calls: account.count_calls,
            count_faults: account.count_faults,
            root_pid: 0,
            attaches: true,
            self_stats: account.self_stats,
            connections_one_in: account.sample_connections,
            sizes: config.capacity.into(),
        };
        let (session, options) = start(options)?;
        Ok(Self {
            collector: Collector::new(session, options)?,
            matcher,
            scanner: Scanner::new(),
            attached: HashMap::new(),
            latest: None,
            previous: None,
            ended: HashSet::new(),
            start: Timestamp::now(),
            since: Instant::now(),
            looks: 0,
            intervals: 0,
            look_time: Duration::ZERO,
            processes_ended: 0,
            refused: HashMap::new(),
            attach_error: None,
            look_error: None,
        })
    }

    /// Takes in what the kernel reports.
    pub fn drain(&mut self) {
        self.collector.drain();
    }

    /// Whether so many processes have ended that the interval should end early.
    pub fn is_full(&self) -> bool {
        self.collector.ended().count() > ENDED_MAX + self.ended.len()
    }

    /// Processes that are traced and have not ended.
    pub fn alive(&mut self) -> u64 {
        self.collector.alive() as u64
    }

    /// Why processes that are chosen are not accounted for; of several reasons one.
    pub fn refusal(&self) -> Option<&str> {
        self.attach_error.as_deref().or_else(|| self.refused.values().next().map(String::as_str))
    }

    /// What is chosen.
    pub fn selection(&self) -> &Selection {
        self.matcher.selection()
    }

    /// Chooses other processes. Those that are traced stay so until they end.
    pub fn select(&mut self, matcher: Matcher) {
        self.matcher = matcher;
        self.refused.clear();
        self.scanner.begin_anew();
    }

    /// Begins to trace processes that are chosen and were not there before.
    pub fn scan(&mut self) {
        let collector = &self.collector;
        self.attached.retain(|_, process| collector.is_alive(process));
        let alive: HashSet<u32> = collector.alive_keys().map(|key| key.0).collect();
        let mut chosen = self.scanner.scan(&self.matcher);
        chosen.retain(|pid| !alive.contains(pid) && !self.attached.contains_key(pid));
        // What has ended since, and kernel threads, are nothing that anybody waits for.
        let running: Vec<_> = chosen.iter().filter_map(|&pid| Running::open(pid).ok()).collect();
        if running.is_empty() {
            return;
        }
        let results = match self.collector.attach(&running) {
            Ok(results) => results,
            Err(error) => {
                tracing::error!(%error, "cannot trace processes");
                self.attach_error = Some(error.to_string());
                return;
            }
        };
        self.attach_error = None;
        for (process, result) in running.iter().zip(results) {
            match result {
                Ok(attached) => {
                    tracing::debug!(pid = attached.pid, threads = attached.threads, "traced from now on");
                    self.refused.remove(&attached.pid);
                    self.attached.insert(attached.pid, attached);
                }
                Err(
                    AttachError::Ended { .. } | AttachError::NoProcess { .. } | AttachError::Kernel { .. },
                ) => {}
                Err(error) => {
                    tracing::warn!(%error, "a process is not accounted for");
                    self.refused.insert(process.pid(), error.to_string());
                }
            }
        }
    }

    /// A look that is not older than this.
    pub fn look(&mut self, age: Duration) -> Result<Arc<Look>, AskError> {
        if let Some(latest) = self.latest.as_ref().filter(|latest| latest.at.elapsed() < age) {
            return Ok(Arc::clone(latest));
        }
        let at = Instant::now();
        let samples = self.collector.look().map_err(|error| {
            tracing::error!(%error, "cannot read the kernel's maps");
            self.look_error = Some(error.to_string());
            AskError::Look(error.to_string())
        })?;
        let look = Arc::new(Look { report: account(&samples, Tool::this()), taken: Timestamp::now(), at });
        self.look_error = None;
        self.looks += 1;
        self.look_time = at.elapsed();
        self.latest = Some(Arc::clone(&look));
        Ok(look)
    }

    /// Ends an interval: the look that does so, and what happened in it. Processes that had ended with the one before are forgotten;
    /// whatever was learned of them late is in.
    pub fn end_interval(&mut self) -> Result<(Arc<Look>, Interval), AskError> {
        self.collector.look_for_the_living();
        let look = self.look(Duration::ZERO)?;
        let interval =
            Interval::between(self.previous.as_ref().map(|look| &look.report), &look.report, look.taken);
        self.previous = Some(Arc::clone(&look));
        let ended: HashSet<_> = self.collector.ended().copied().collect();
        let old: Vec<_> = ended.intersection(&self.ended).copied().collect();
        self.processes_ended += ended.difference(&self.ended).count() as u64;
        if let Err(error) = self.collector.forget(&old) {
            tracing::warn!(%error, "cannot take ended processes out of the kernel's maps");
        }
        self.ended = ended.difference(&old.into_iter().collect()).copied().collect();
        self.refused.retain(|pid, _| std::fs::exists(format!("/proc/{pid}")).unwrap_or(false));
        self.intervals += 1;
        if self.intervals.is_multiple_of(INTERVALS_OF_SWEEP)
            && let Err(error) = self.collector.sweep()
        {
            tracing::warn!(%error, "cannot ask for rows");
        }
        Ok((look, interval))
    }

    /// How it is.
    pub fn health(&mut self) -> Health {
        let latest = self.latest.as_ref().map(|look| &look.report);
        let hooks = latest.map_or(&[][..], |report| &report.hooks);
        let lost = latest.map_or(0, |report| report.lost.values().sum());
        let names_alone = |name: &str| NAMES_ALONE.iter().any(|loss| loss.name() == name);
        let bytes_lost: u64 = latest.map_or(0, |report| {
            report.lost.iter().filter(|(name, _)| !names_alone(name)).map(|(_, count)| count).sum()
        });
        let with = |status| hooks.iter().filter(move |hook| hook.status == status);
        let mut problems = Vec::new();
        problems
            .extend(self.look_error.iter().map(|error| format!("the kernel's maps cannot be read: {error}")));
        problems
            .extend(self.attach_error.iter().map(|error| format!("new processes cannot be traced: {error}")));
        if let Some(error) = self.refused.values().next() {
            let count = self.refused.len();
            problems.push(format!(
                "chosen processes that are not accounted for: {count}; of one of them: {error}"
            ));
        }
        if bytes_lost > 0 {
            problems.push(format!(
                "things were lost since the start: {bytes_lost}; `lost` in /v1/report says of which kind, docs/output.md what to do"
            ));
        }
        let status = if problems.is_empty() { HealthStatus::Ok } else { HealthStatus::Degraded };
        let tool = Tool::this();
        Health {
            status,
            problems,
            version: tool.version,
            commit: tool.commit,
            pid: std::process::id(),
            start: self.start,
            uptime_seconds: self.since.elapsed().as_secs_f64(),
            last_look: self.latest.as_ref().map(|look| look.taken),
            looks: self.looks,
            last_look_seconds: self.latest.as_ref().map(|_| self.look_time.as_secs_f64()),
            processes_alive: self.collector.alive() as u64,
            processes_ended: self.processes_ended
                + self.collector.ended().filter(|key| !self.ended.contains(key)).count() as u64,
            hooks_attached: with(HookStatus::Attached).count() as u64,
            hooks_unavailable: with(HookStatus::Unavailable).map(|hook| hook.name.clone()).collect(),
            lost,
            history: None,
            self_cost: latest.map(|report| report.self_cost).unwrap_or_default(),
        }
    }
}
