//! The configuration file.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::select::{SelectError, Selection};
use crate::{
    metrics::{Caps, ServiceBy},
    probe::session::Sizes,
    units,
};

/// Where it is when nobody says otherwise.
pub const PATH: &str = "/etc/zc/daemon.toml";
/// What one looks like in which everything is as it is without it.
pub const TEMPLATE: &str = include_str!("daemon.toml");
/// Larger ones are none.
const BYTES_MAX: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);
/// More series than anybody would store.
const SERVICES_MAX: usize = 10_000;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what a configuration looks like.
    #[error("{} is no valid configuration; `zc daemon --print-config` shows one:\n{message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A value that cannot be.
    #[error("{}: {name}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which value.
        name: &'static str,
        /// Why.
        reason: String,
    },
    /// The choice of processes.
    #[error("{}: [select]: {source}", path.display())]
    Select {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SelectError,
    },
}

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which processes.
    pub select: Selection,
    /// How they are accounted for.
    pub account: Account,
    /// Who may ask, and where.
    pub api: Api,
    /// What metrics are about.
    pub metrics: Metrics,
    /// What is kept.
    pub history: History,
    /// Sizes of what is kept in the kernel.
    pub capacity: Capacity,
    /// What is logged.
    pub log: Log,
}

/// How processes are accounted for. What is not said to be otherwise is read at the start alone.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "switches, each independent of the others")]
pub struct Account {
    /// How often the kernel's maps are read without being asked. Also after a reload.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// How often it is looked for new processes that are chosen. Also after a reload.
    #[serde(deserialize_with = "duration")]
    pub scan: Duration,
    /// The children that chosen processes make are chosen, whatever they are called.
    pub follow: bool,
    /// System calls of every kind are counted.
    pub count_calls: bool,
    /// Page faults are counted.
    pub count_faults: bool,
    /// zc's own programs are timed, which makes them dearer.
    pub self_stats: bool,
    /// What devices are given is seen of one in so many connections.
    pub sample_connections: u32,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            scan: Duration::from_secs(1),
            follow: true,
            count_calls: false,
            count_faults: true,
            self_stats: false,
            sample_connections: 1,
        }
    }
}

/// Who may ask, and where.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// The Unix socket.
    pub socket: PathBuf,
    /// The group that may ask; root alone when there is no such group.
    pub group: String,
    /// An address of this machine's loopback device for metrics and health, which say nothing of single processes.
    pub listen: Option<SocketAddr>,
    /// Connections at the same time.
    pub clients_max: usize,
}

impl Default for Api {
    fn default() -> Self {
        Self { socket: "/run/zc/zc.sock".into(), group: "zc".to_owned(), listen: None, clients_max: 64 }
    }
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Whether anything is.
    pub enabled: bool,
    /// Where.
    pub dir: PathBuf,
    /// For how long.
    #[serde(deserialize_with = "duration")]
    pub max_age: Duration,
    /// How much: the oldest hours are removed when there is more.
    #[serde(deserialize_with = "size")]
    pub max_bytes: u64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            enabled: true,
            dir: "/var/lib/zc".into(),
            max_age: Duration::from_secs(14 * 24 * 3600),
            max_bytes: 2 << 30,
        }
    }
}

/// What metrics are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// What a service is: nothing, or the value of `comm`, `cgroup`, `container` or `unit`.
    pub services: Services,
    /// So many services have series of their own, the first that come; all others share those of one that is called `other`.
    pub services_max: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { services: Services::None, services_max: Caps::default().services_max }
    }
}

impl Metrics {
    /// The same for who sums up.
    pub fn caps(&self) -> Caps {
        let service_by = match self.services {
            Services::None => None,
            Services::Comm => Some(ServiceBy::Comm),
            Services::Cgroup => Some(ServiceBy::Cgroup),
            Services::Container => Some(ServiceBy::Container),
            Services::Unit => Some(ServiceBy::Unit),
        };
        Caps { service_by, services_max: self.services_max }
    }
}

/// What a service is to metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "as in ServiceBy")]
pub enum Services {
    #[default]
    None,
    Comm,
    Cgroup,
    Container,
    Unit,
}

/// Sizes of what is kept in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "as in Sizes")]
pub struct Capacity {
    pub rows_max: u32,
    pub objects_max: u32,
    pub threads_max: u32,
    pub ring_bytes: u32,
    pub pair_sets: u32,
    pub flows_max: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        let Sizes { rows, objects, threads, ring_bytes, pair_sets, flows } = Sizes::default();
        Self {
            rows_max: rows,
            objects_max: objects,
            threads_max: threads,
            ring_bytes,
            pair_sets,
            flows_max: flows,
        }
    }
}

impl From<Capacity> for Sizes {
    fn from(capacity: Capacity) -> Self {
        let Capacity { rows_max, objects_max, threads_max, ring_bytes, pair_sets, flows_max } = capacity;
        Self {
            rows: rows_max,
            objects: objects_max,
            threads: threads_max,
            ring_bytes,
            pair_sets,
            flows: flows_max,
        }
    }
}

/// What is logged, to stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How much.
    pub level: Level,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the usual ones")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Config {
    /// Reads a file. Without a name, the usual one is read if it is there.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or_else(|| Path::new(PATH));
        let at = || file.to_owned();
        let text = fs::metadata(file).and_then(|metadata| {
            if metadata.is_file() && metadata.len() > BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
            }
            fs::read_to_string(file)
        });
        match text {
            Ok(text) => Self::parse(&text, file),
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: at(), source }),
        }
    }

    /// From the text of a file, whose name is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), message: error.to_string() })?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let refuse = |name, reason: &str| {
            Err(ConfigError::Value { path: path.to_owned(), name, reason: reason.to_owned() })
        };
        let Self { account, api, capacity, metrics, history, .. } = self;
        if !units::INTERVALS.contains(&account.interval) {
            return refuse("account.interval", "must be from 100ms to 1h");
        }
        if !units::INTERVALS.contains(&account.scan) {
            return refuse("account.scan", "must be from 100ms to 1h");
        }
        if account.sample_connections == 0 {
            return refuse("account.sample_connections", "must be at least 1, which is all of them");
        }
        if !api.socket.is_absolute() {
            return refuse("api.socket", "must be an absolute path");
        }
        if !history.dir.is_absolute() {
            return refuse("history.dir", "must be an absolute path");
        }
        if history.max_age < HOUR {
            return refuse("history.max_age", "must be at least 1h: whole hours are kept");
        }
        if metrics.services_max > SERVICES_MAX {
            return refuse("metrics.services_max", "must be at most 10000");
        }
        if api.clients_max == 0 {
            return refuse("api.clients_max", "must be at least 1");
        }
        if api.listen.is_some_and(|address| !address.ip().is_loopback()) {
            return refuse("api.listen", "must be an address of the loopback device, such as 127.0.0.1:9879");
        }
        for (name, value) in [
            ("capacity.rows_max", capacity.rows_max),
            ("capacity.objects_max", capacity.objects_max),
            ("capacity.threads_max", capacity.threads_max),
        ] {
            if !(1..=1 << 24).contains(&value) {
                return refuse(name, "must be from 1 to 16777216");
            }
        }
        if let Err(error) = units::ring_bytes(&capacity.ring_bytes.to_string()) {
            return refuse("capacity.ring_bytes", &error.to_string());
        }
        if let Err(error) = units::pair_sets(&capacity.pair_sets.to_string()) {
            return refuse("capacity.pair_sets", &error.to_string());
        }
        let select = |source| ConfigError::Select { path: path.to_owned(), source };
        self.select.matcher().map(|_| ()).map_err(select)
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::duration(&text).map_err(|error| D::Error::custom(format_args!("{text:?}: {error}")))
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::size(&text).map_err(|error| D::Error::custom(format_args!("{text:?}: {error}")))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
