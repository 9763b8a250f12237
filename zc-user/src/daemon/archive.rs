//! Intervals on their way into the history, on a thread of its own: the end of an hour takes seconds, and a disk may take longer.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{Builder, JoinHandle},
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    history::{History, HistoryError, Host, Limits},
    model::Interval,
};

/// Intervals that wait for the thread.
const ON_THE_WAY: usize = 8;
/// Intervals that are kept in memory while they cannot be written: a quarter of an hour of the usual ones.
const WAITING_MAX: usize = 64;

/// How the history is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ArchiveState {
    /// Its directory.
    pub dir: PathBuf,
    /// Intervals that were written since the start.
    pub intervals: u64,
    /// Intervals that wait until they can be.
    pub waiting: u64,
    /// Intervals that waited for too long, and are in no history.
    pub lost: u64,
    /// Why nothing can be written.
    pub error: Option<String>,
}

/// Where intervals go.
#[derive(Debug)]
pub struct Archive {
    sender: Option<SyncSender<Interval>>,
    state: Arc<Mutex<ArchiveState>>,
    thread: Option<JoinHandle<()>>,
}

fn lock(state: &Mutex<ArchiveState>) -> MutexGuard<'_, ArchiveState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Archive {
    /// Starts the thread. That the directory cannot be used is in the state, and is tried again with each interval.
    pub fn start(dir: PathBuf, host: Host, limits: Limits) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(ON_THE_WAY);
        let state = Arc::new(Mutex::new(ArchiveState { dir: dir.clone(), ..ArchiveState::default() }));
        let writer =
            Writer { dir, host, limits, history: None, waiting: VecDeque::new(), state: Arc::clone(&state) };
        let thread = Builder::new().name("zc-history".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { sender: Some(sender), state, thread: Some(thread) })
    }

    /// Hands over an interval. Never waits.
    pub fn append(&self, interval: Interval) {
        let full = self.sender.as_ref().is_some_and(|sender| match sender.try_send(interval) {
            Ok(()) => false,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => true,
        });
        if full {
            lock(&self.state).lost += 1;
        }
    }

    /// How it is.
    pub fn state(&self) -> ArchiveState {
        lock(&self.state).clone()
    }
}

impl Drop for Archive {
    /// Waits until everything that was handed over is written, or cannot be.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    dir: PathBuf,
    host: Host,
    limits: Limits,
    history: Option<History>,
    waiting: VecDeque<Interval>,
    state: Arc<Mutex<ArchiveState>>,
}

impl Writer {
    fn run(mut self, intervals: &Receiver<Interval>) {
        self.make_ready();
        while let Ok(interval) = intervals.recv() {
            self.waiting.push_back(interval);
            let result = self.write();
            if let Err(error) = &result {
                tracing::error!(%error, waiting = self.waiting.len(), "the history cannot be written");
            }
            let mut state = lock(&self.state);
            while self.waiting.len() > WAITING_MAX {
                self.waiting.pop_front();
                state.lost += 1;
            }
            state.waiting = self.waiting.len() as u64;
            state.error = result.err().map(|error| error.to_string());
        }
    }

    /// Says early what is wrong with the directory.
    fn make_ready(&mut self) {
        if let Err(error) = self.open() {
            tracing::error!(%error, "there is no history");
            lock(&self.state).error = Some(error.to_string());
        }
    }

    fn open(&mut self) -> Result<&mut History, HistoryError> {
        match &mut self.history {
            Some(history) => Ok(history),
            none => {
                let (history, notices) = History::open(&self.dir, self.host.clone(), self.limits)?;
                for notice in notices {
                    tracing::warn!("history: {notice}");
                }
                Ok(none.insert(history))
            }
        }
    }

    /// Writes all that waits, and finishes hours that are over.
    fn write(&mut self) -> Result<(), HistoryError> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let state = Arc::clone(&self.state);
        let written = self.open().and_then(|history| {
            while let Some(interval) = waiting.front() {
                history.append(interval)?;
                waiting.pop_front();
                lock(&state).intervals += 1;
            }
            let rolled = history.roll(Timestamp::now());
            for notice in rolled.notices {
                tracing::warn!("history: {notice}");
            }
            for file in rolled.finished {
                tracing::debug!(file = %file.display(), "an hour of history is finished");
            }
            rolled.failed.into_iter().next().map_or(Ok(()), Err)
        });
        self.waiting = waiting;
        written
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

    use super::*;
    use crate::history;

    fn limits() -> Limits {
        Limits { max_age: Duration::from_secs(1 << 30), max_bytes: 1 << 30 }
    }

    fn interval(seconds: i64) -> Interval {
        let at = |seconds| Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        Interval { start: at(seconds - 1), end: at(seconds), ..Interval::default() }
    }

    #[test]
    fn what_is_handed_over_is_there_when_it_has_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        let archive =
            Archive::start(dir.path().join("history"), Host::default(), limits()).expect("a thread");
        for second in 0..5 {
            archive.append(interval(second - 10));
        }
        drop(archive);
        let read =
            history::read(&dir.path().join("history"), Timestamp::MIN, Timestamp::MAX).expect("a history");
        assert_eq!(read.count(), 5);
    }

    #[test]
    fn what_cannot_be_written_waits_and_is_written_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("history");
        fs::write(&file, "in the way").expect("a file");
        let archive = Archive::start(file.clone(), Host::default(), limits()).expect("a thread");
        archive.append(interval(-5));
        let wait = |ready: &dyn Fn(&ArchiveState) -> bool| {
            while !ready(&archive.state()) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        wait(&|state| state.waiting == 1 && state.error.is_some());
        fs::remove_file(&file).expect("out of the way");
        archive.append(interval(-4));
        wait(&|state| state.intervals == 2 && state.error.is_none());
        let mode = fs::metadata(&file).expect("the directory").permissions().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}");
        drop(archive);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("history");
        fs::write(&file, "in the way").expect("a file");
        let archive = Archive::start(file, Host::default(), limits()).expect("a thread");
        for second in 0..200 {
            archive.append(interval(second - 300));
            while archive.state().waiting + archive.state().lost < u64::try_from(second).expect("few").min(1)
            {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let state = Arc::clone(&archive.state);
        drop(archive);
        let state = lock(&state).clone();
        assert_eq!((state.waiting + state.lost, state.waiting <= WAITING_MAX as u64), (200, true));
    }
}
