//! The daemon's life: from its configuration to its end.

use std::{
    io,
    net::TcpListener,
    os::fd::AsFd as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time,
};

use super::{
    api::{self, Bounds, Listeners},
    config::{Account, Config, ConfigError},
    handle::{Handle, Health, Request},
    kept::Kept,
    select::{Matcher, SelectError},
    socket::{Socket, SocketError},
    watch::{Watch, WatchError},
};

/// How often it is looked whether the socket is still there.
const SOCKET_LOOK: Duration = Duration::from_secs(5);

/// Why the daemon did not begin, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The processes that are chosen.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Its socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Its kernel side.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The loopback address.
    #[error("cannot listen at {address} (`api.listen`): {source}")]
    Listen {
        /// It.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Something that every program needs.
    #[error("cannot {what}: {source}")]
    System {
        /// To do what.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::System { what, source }
}

/// Runs until a signal ends it. `file` is read again on SIGHUP.
pub fn run(config: Config, file: Option<PathBuf>) -> Result<(), ServeError> {
    let matcher = config.select.matcher()?;
    let (socket, unix) = Socket::bind(&config.api.socket, &config.api.group)?;
    let tcp = config.api.listen.map(|address| {
        let listener = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        listener.map_err(|source| ServeError::Listen { address, source })
    });
    let tcp = tcp.transpose()?;
    let watch = Watch::start(&config, matcher)?;
    let keep = &config.history;
    let (handle, requests) = Handle::new(keep.enabled.then(|| keep.dir.clone()));
    let (end, ending) = watch::channel(false);
    let (again, again_receiver) = mpsc::channel(1);
    let listeners = Listeners { unix, again: again_receiver, tcp };
    let bounds = Bounds { clients_max: config.api.clients_max };
    let server = thread::Builder::new()
        .name("zc-api".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(api::serve(handle, listeners, bounds, ending))
        })
        .map_err(system("start a thread"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    let kept = Kept::new(&config);
    let result = runtime.block_on(Daemon { config, file, watch, kept, socket, again }.run(requests));
    notify(&[NotifyState::Stopping]);
    let _ = end.send(true);
    if let Ok(Err(error)) = server.join() {
        tracing::error!(%error, "the API ended early");
    }
    tracing::info!("ended");
    result
}

/// Tells the service manager, if there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager how things are");
    }
}

/// What the main thread has.
struct Daemon {
    config: Config,
    file: Option<PathBuf>,
    watch: Watch,
    kept: Kept,
    socket: Socket,
    again: mpsc::Sender<std::os::unix::net::UnixListener>,
}

impl Daemon {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), ServeError> {
        let on = |kind| signal(kind).map_err(system("receive signals"));
        let mut reload = on(SignalKind::hangup())?;
        let mut ends = [on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::quit())?];
        // SAFETY: an owned descriptor stays the same until it is dropped.
        let ring = self
            .watch
            .as_fd()
            .try_clone_to_owned()
            .and_then(|fd| unsafe { AsyncFd::register(fd) }.map_err(io::Error::from));
        let ring = ring.map_err(system("wait for the ring buffer"))?;
        self.watch.scan();
        let mut last_interval = Instant::now();
        let mut last_scan = last_interval;
        let mut last_socket_look = last_interval;
        let mut last_sign = last_interval;
        // Half of what the manager waits for, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|period| period / 2);
        // So that there is an answer to whoever asks first.
        self.end_interval();
        notify(&[NotifyState::Ready]);
        tracing::info!(socket = %self.config.api.socket.display(), "ready");
        loop {
            let now = Instant::now();
            let Account { interval, scan, .. } = self.config.account;
            if now >= last_scan + scan {
                self.watch.scan();
                last_scan = now;
            }
            if now >= last_interval + interval || self.watch.is_full() {
                self.end_interval();
                last_interval = now;
            }
            if now >= last_socket_look + SOCKET_LOOK {
                self.look_at_socket();
                last_socket_look = now;
            }
            if watchdog.is_some_and(|period| now >= last_sign + period) {
                notify(&[NotifyState::Watchdog]);
                last_sign = now;
            }
            let next = (last_scan + scan).min(last_interval + interval).min(last_socket_look + SOCKET_LOOK);
            let next = watchdog.map_or(next, |period| next.min(last_sign + period));
            let [terminate, interrupt, quit] = &mut ends;
            tokio::select! {
                () = time::sleep_until(next.into()) => self.watch.drain(),
                ready = ring.readable() => {
                    ready.map_err(system("wait for the ring buffer"))?.clear_ready();
                    self.watch.drain();
                }
                Some(request) = requests.recv() => self.answer(request),
                Some(()) = reload.recv() => self.reload(),
                () = one_of(terminate, interrupt, quit) => {
                    // What is still in the kernel's maps is kept, too.
                    self.end_interval();
                    return Ok(());
                }
            }
        }
    }

    /// What went wrong is in health; the next interval has what this one would have had.
    fn end_interval(&mut self) {
        if let Ok((look, interval)) = self.watch.end_interval() {
            self.kept.add(look, interval);
        }
    }

    fn health(&mut self) -> Health {
        let mut health = self.watch.health();
        self.kept.tell(&mut health);
        health
    }

    /// Who does not wait for the answer any more does not get it.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Look(age, reply) => drop(reply.send(self.watch.look(age))),
            Request::Health(reply) => drop(reply.send(Ok(self.health()))),
            Request::Metrics(reply) => drop(reply.send(Ok(self.kept.metrics(self.watch.alive())))),
            Request::Selection(reply) => drop(reply.send(Ok(self.watch.selection().clone()))),
            Request::Select(selection, reply) => {
                let chosen = selection.matcher().map(|matcher| {
                    self.select(matcher);
                    selection
                });
                drop(reply.send(chosen.map_err(Into::into)));
            }
        }
    }

    fn select(&mut self, matcher: Matcher) {
        tracing::info!(selection = ?matcher.selection(), "other processes are chosen");
        self.watch.select(matcher);
        self.watch.scan();
    }

    /// Takes over what can be changed while it runs; a configuration that is wrong changes nothing.
    fn reload(&mut self) {
        let read = Config::read(self.file.as_deref()).map_err(ServeError::from);
        let read = read.and_then(|config| Ok((config.select.matcher()?, config)));
        match read {
            Ok((matcher, config)) => {
                let fixed = |config: &Config| {
                    let Config { api, capacity, metrics, history, .. } = config.clone();
                    (api, capacity, metrics, history)
                };
                if fixed(&config) != fixed(&self.config) {
                    tracing::warn!(
                        "[api], [capacity], [history] or [metrics] have changed, which takes a restart"
                    );
                }
                self.config.account.interval = config.account.interval;
                self.config.account.scan = config.account.scan;
                if config.account != self.config.account {
                    tracing::warn!(
                        "settings of [account] other than interval and scan have changed, which takes a restart"
                    );
                }
                self.select(matcher);
                tracing::info!("the configuration was read again");
            }
            Err(error) => tracing::error!(%error, "the configuration is as it was"),
        }
    }

    fn look_at_socket(&mut self) {
        match self.socket.bind_again_if_gone() {
            Ok(None) => {}
            Ok(Some(listener)) => {
                tracing::warn!("somebody has removed the socket; there is a new one");
                if self.again.try_send(listener).is_err() {
                    tracing::error!("nobody serves the new socket");
                }
            }
            Err(error) => tracing::error!(%error, "the socket is gone"),
        }
    }
}

async fn one_of(first: &mut Signal, second: &mut Signal, third: &mut Signal) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
        _ = third.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_served_with_a_choice_that_means_nothing() {
        let mut config = Config::default();
        config.select.cgroups = ["x".to_owned()].into();
        assert!(matches!(run(config, None), Err(ServeError::Select(SelectError::NoPath(_)))));
    }

    #[test]
    fn who_asks_a_daemon_that_has_ended_is_told() {
        let (handle, requests) = Handle::new(None);
        drop(requests);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert!(runtime.block_on(handle.health()).is_err());
    }
}
