//! What was measured: values by round, so that everything else can be computed from them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{crowd::Scale, machine::Machine, service::Service, setup::Setup, work::Work};

/// Something that has a value in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Series {
    /// Nanoseconds for one time of a workload, undisturbed.
    Work(Work, Setup),
    /// The same as it came.
    Median(Work, Setup),
    /// Nanoseconds for one request of a service under load.
    Service(Service, Setup),
    /// Something about many processes or descriptors.
    Scale(Scale),
    /// Milliseconds from the start to the end of a command that does nothing.
    Start(Start),
}

/// How the command that does nothing is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Start {
    /// By itself.
    Plain,
    /// By `zc run`.
    Traced,
    /// By `zc run --no-count-calls`.
    TracedData,
}

impl Start {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Traced, Self::TracedData];

    /// What it is, for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Plain => "true",
            Self::Traced => "zc run -- true",
            Self::TracedData => "zc run --no-count-calls -- true",
        }
    }
}

impl Series {
    /// Its name in file formats.
    pub(crate) fn id(self) -> String {
        match self {
            Self::Work(work, setup) => format!("{}/{}", work.name(), setup.id()),
            Self::Median(work, setup) => format!("{}/{}/median", work.name(), setup.id()),
            Self::Service(service, setup) => format!("{}/{}", service.name(), setup.id()),
            Self::Scale(scale) => scale.name().to_owned(),
            Self::Start(start) => format!("start/{}", start.title()),
        }
    }
}

/// A tool that could not be measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) reason: String,
    /// It is not installed; otherwise it failed.
    pub(crate) missing: bool,
}

/// Everything that was measured.
pub(crate) struct Results {
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) rounds: u32,
    pub(crate) values: BTreeMap<Series, BTreeMap<u32, f64>>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) warnings: Vec<String>,
    /// Other tracers were at work meanwhile.
    pub(crate) foreign: bool,
}

impl Results {
    pub(crate) fn new(quick: bool, machine: Machine) -> Self {
        Self {
            quick,
            machine,
            seconds: 0.0,
            rounds: 0,
            values: BTreeMap::new(),
            failures: Vec::new(),
            warnings: Vec::new(),
            foreign: false,
        }
    }

    /// Why no verdict is given, if so.
    pub(crate) fn disturbance(&self) -> Option<String> {
        self.machine
            .disturbance()
            .or_else(|| self.foreign.then(|| "programs of others were attached".to_owned()))
    }

    /// Whether something could not be measured, by its title.
    pub(crate) fn has_failed(&self, title: &str) -> bool {
        self.failures.iter().any(|failure| failure.what == title)
    }

    /// Notes a value.
    pub(crate) fn note(&mut self, series: Series, round: u32, value: f64) {
        self.values.entry(series).or_default().insert(round, value);
    }

    /// The values of a series, in no order that matters.
    pub(crate) fn of(&self, series: Series) -> Vec<f64> {
        self.values.get(&series).into_iter().flat_map(BTreeMap::values).copied().collect()
    }

    /// The values of several series in the rounds that all of them were measured in.
    pub(crate) fn common<const N: usize>(&self, series: [Series; N]) -> Vec<[f64; N]> {
        let columns = series.map(|series| self.values.get(&series));
        let Some(first) = columns.first().copied().flatten() else { return Vec::new() };
        let row = |round: &u32| {
            let mut row = [0.0; N];
            for (value, column) in row.iter_mut().zip(columns) {
                *value = *column?.get(round)?;
            }
            Some(row)
        };
        first.keys().filter_map(row).collect()
    }
}
