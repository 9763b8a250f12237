//! What may be asked of a running daemon, and how the answers come.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::{
    archive::ArchiveState,
    select::{SelectError, Selection},
};
use crate::{
    metrics::Exposition,
    model::{Report, report::SelfCost},
};

/// A look at everything that is accounted for.
#[derive(Debug)]
pub struct Look {
    /// What was seen since the daemon started, of processes that live or have ended lately.
    pub report: Report,
    /// When it was taken.
    pub taken: Timestamp,
    /// The same, by a clock that nobody sets.
    pub at: Instant,
}

/// How the daemon is.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// Whether everything works.
    pub status: HealthStatus,
    /// What does not, each with what to do about it.
    pub problems: Vec<String>,
    /// Version of zc.
    pub version: String,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// Id of the daemon's process.
    pub pid: u32,
    /// When it started.
    pub start: Timestamp,
    /// How long it has been running.
    pub uptime_seconds: f64,
    /// When the last look was taken.
    pub last_look: Option<Timestamp>,
    /// How many looks were taken.
    pub looks: u64,
    /// How long the last one took.
    pub last_look_seconds: Option<f64>,
    /// Processes that are traced and have not ended.
    pub processes_alive: u64,
    /// Processes that have ended since the start.
    pub processes_ended: u64,
    /// Hooks that are attached.
    pub hooks_attached: u64,
    /// Hooks that cannot be attached, by name.
    pub hooks_unavailable: Vec<String>,
    /// Losses of all kinds.
    pub lost: u64,
    /// What is kept; `None` when nothing is.
    pub history: Option<ArchiveState>,
    /// What zc itself cost since the start.
    #[serde(rename = "self")]
    pub self_cost: SelfCost,
}

impl Health {
    /// Adds what does not work.
    pub fn add_problem(&mut self, problem: String) {
        self.problems.push(problem);
        self.status = HealthStatus::Degraded;
    }
}

/// Whether everything works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It does.
    Ok,
    /// Something is missing or was lost, and everything else goes on.
    Degraded,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The daemon is about to end.
    #[error("the daemon is about to end")]
    Ending,
    /// The maps of the kernel cannot be read.
    #[error("cannot read the kernel's maps: {0}")]
    Look(String),
    /// What was chosen means nothing.
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// The other end of an answer.
pub type Reply<T> = oneshot::Sender<Result<T, AskError>>;

/// What is asked.
#[derive(Debug)]
pub enum Request {
    /// A look that is not older than this.
    Look(Duration, Reply<Arc<Look>>),
    /// How it is.
    Health(Reply<Health>),
    /// Metrics, as of the last interval.
    Metrics(Reply<Exposition>),
    /// What is chosen.
    Selection(Reply<Selection>),
    /// To choose something else.
    Select(Selection, Reply<Selection>),
}

/// Asks.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    history: Option<PathBuf>,
}

/// Questions that may wait; who asks more waits to ask.
const WAITING: usize = 64;

impl Handle {
    /// A handle, and where its requests arrive. Who asks for what was before is answered from the directory of the history.
    pub fn new(history: Option<PathBuf>) -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(WAITING);
        (Self { requests, history }, receiver)
    }

    /// The directory of the history, if there is one.
    pub fn history(&self) -> Option<&Path> {
        self.history.as_deref()
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| AskError::Ending)?;
        answer.await.map_err(|_| AskError::Ending)?
    }

    /// A look that is not older than this.
    pub async fn look(&self, age: Duration) -> Result<Arc<Look>, AskError> {
        self.ask(|reply| Request::Look(age, reply)).await
    }

    /// How the daemon is.
    pub async fn health(&self) -> Result<Health, AskError> {
        self.ask(Request::Health).await
    }

    /// Metrics, as of the last interval.
    pub async fn metrics(&self) -> Result<Exposition, AskError> {
        self.ask(Request::Metrics).await
    }

    /// What is chosen.
    pub async fn selection(&self) -> Result<Selection, AskError> {
        self.ask(Request::Selection).await
    }

    /// Chooses other processes.
    pub async fn select(&self, selection: Selection) -> Result<Selection, AskError> {
        self.ask(|reply| Request::Select(selection, reply)).await
    }
}
