//! Sums by service: what a label that the world chooses may cost.
//!
//! The first values that come get a series each, and keep it; what comes later is added to [`OTHER`]. So no counter ever loses
//! to another one what it had, and the number of series has a bound whatever runs on the machine.

use std::collections::BTreeMap;

use zc_common::path::Path;

use super::{
    slug,
    sum::{Moved, Sum},
};
use crate::model::interval::{ProcessChange, RowChange, Who};

/// The service of processes of which that is not known, or that are in no container, or in no unit.
pub const NONE: &str = "none";
/// The service of all that come when there are as many as there may be.
pub const OTHER: &str = "other";

/// Bytes of a value. Names of processes have 15 at most, ids of containers 64; of paths the end is kept.
const VALUE_BYTES_MAX: usize = 128;

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceBy {
    /// Processes of one name (`comm`).
    Comm,
    /// Processes in one cgroup, by its path.
    Cgroup,
    /// Processes in one container, by its id.
    Container,
    /// Processes of one unit of systemd (`nginx.service`, `session-3.scope`).
    Unit,
}

impl ServiceBy {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Comm, Self::Cgroup, Self::Container, Self::Unit];

    /// Its name in options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Comm => "comm",
            Self::Cgroup => "cgroup",
            Self::Container => "container",
            Self::Unit => "unit",
        }
    }

    /// The choice of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }

    fn of(self, who: &Who) -> Option<&str> {
        match self {
            Self::Comm => who.comm.as_deref(),
            Self::Cgroup => who.cgroup.as_deref(),
            Self::Container => who.container.as_deref(),
            Self::Unit => unit(who.cgroup.as_deref()?),
        }
    }
}

/// The innermost unit in the path of a cgroup.
fn unit(cgroup: &str) -> Option<&str> {
    let is_unit = |name: &&str| matches!(name.rsplit_once('.'), Some((_, "service" | "scope")));
    cgroup.rsplit('/').find(is_unit)
}

/// How many series there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// What a service is; `None` for no series by service at all.
    pub service_by: Option<ServiceBy>,
    /// Services that have series of their own.
    pub services_max: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { service_by: None, services_max: 50 }
    }
}

/// Sums by service.
#[derive(Clone, Debug)]
pub(super) struct Services {
    by: ServiceBy,
    named_max: usize,
    named: BTreeMap<String, Service>,
    /// [`NONE`] and [`OTHER`].
    unnamed: BTreeMap<&'static str, Service>,
}

/// Sums of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    pub(super) moved: Moved,
    /// Payload by path.
    pub(super) paths: BTreeMap<Path, Sum>,
    /// Bytes that were copied on paths that can do without, by reason.
    pub(super) fallbacks: BTreeMap<&'static str, Sum>,
}

impl Services {
    pub(super) fn new(caps: Caps) -> Option<Self> {
        let Caps { service_by, services_max } = caps;
        let (named, unnamed) = (BTreeMap::new(), BTreeMap::new());
        service_by.map(|by| Self { by, named_max: services_max, named, unnamed })
    }

    pub(super) fn add(&mut self, process: &ProcessChange) {
        // Who moved nothing takes no place.
        if process.rows.is_empty() {
            return;
        }
        let service = self.service(&process.who);
        for row in &process.rows {
            service.add(row);
        }
    }

    fn service(&mut self, who: &Who) -> &mut Service {
        let Some(value) = self.by.of(who).filter(|value| !value.is_empty()) else {
            return self.unnamed.entry(NONE).or_default();
        };
        let value = label_value(value);
        // One who is called like the rest is counted with it.
        if let Some(rest) = [NONE, OTHER].into_iter().find(|rest| *rest == value) {
            return self.unnamed.entry(rest).or_default();
        }
        if self.named.len() < self.named_max || self.named.contains_key(&value) {
            return self.named.entry(value).or_default();
        }
        self.unnamed.entry(OTHER).or_default()
    }

    pub(super) fn settle(&mut self) {
        self.named.values_mut().chain(self.unnamed.values_mut()).for_each(Service::settle);
    }

    /// Services that have series of their own, and how many there may be.
    pub(super) fn places(&self) -> (usize, usize) {
        (self.named.len(), self.named_max)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Service)> {
        let unnamed = self.unnamed.iter().map(|(name, service)| (*name, service));
        self.named.iter().map(|(name, service)| (name.as_str(), service)).chain(unnamed)
    }
}

impl Service {
    fn add(&mut self, row: &RowChange) {
        self.moved.add(row);
        self.paths.entry(row.name.path).or_default().add(row.bytes);
        if let Some((reason, copied)) = slug::of_fallback(row).zip(row.cpu_copied_bytes)
            && copied != 0
        {
            self.fallbacks.entry(reason).or_default().add(copied);
        }
    }

    fn settle(&mut self) {
        self.moved.settle();
        self.paths.values_mut().chain(self.fallbacks.values_mut()).for_each(Sum::settle);
    }
}

/// A name that the world chose as the value of a label: on one line, and no longer than may be.
fn label_value(name: &str) -> String {
    // Whoever looks at it may do so on a terminal.
    let mut value: String =
        name.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect();
    if value.len() > VALUE_BYTES_MAX {
        let mut start = value.len() - (VALUE_BYTES_MAX - '…'.len_utf8());
        while !value.is_char_boundary(start) {
            start += 1;
        }
        value.replace_range(..start, "…");
    }
    value
}
