//! What a daemon keeps of each interval: sums for metrics, and the history.

use std::sync::Arc;

use super::{
    archive::Archive,
    config::{Config, History},
    handle::{Health, Look},
};
use crate::{
    history::{Host, Limits},
    metrics::{Exposition, State, Totals},
    model::{Interval, report::Tool},
};

/// Everything that is kept.
pub(super) struct Kept {
    totals: Totals,
    history: History,
    /// Begun with the first interval, when it is known which machine this is.
    archive: Option<Archive>,
    /// The look that ended the last interval.
    latest: Option<Arc<Look>>,
}

impl Kept {
    /// Nothing, as yet.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            totals: Totals::new(config.metrics.caps()),
            history: config.history.clone(),
            archive: None,
            latest: None,
        }
    }

    /// Takes in an interval, with the look that ended it.
    pub(super) fn add(&mut self, look: Arc<Look>, interval: Interval) {
        self.totals.add(&interval);
        if self.history.enabled {
            self.archive(&look, interval);
        }
        self.latest = Some(look);
    }

    fn archive(&mut self, look: &Look, interval: Interval) {
        if self.archive.is_none() {
            let History { dir, max_age, max_bytes, .. } = self.history.clone();
            match Archive::start(dir, Host::this(&look.report.host), Limits { max_age, max_bytes }) {
                Ok(archive) => self.archive = Some(archive),
                Err(error) => tracing::error!(%error, "cannot start the thread that writes the history"),
            }
        }
        if let Some(archive) = &self.archive {
            archive.append(interval);
        }
    }

    /// Metrics, as of the last interval, with how many processes are traced now.
    pub(super) fn metrics(&self, processes: u64) -> Exposition {
        let report = self.latest.as_ref().map(|look| &look.report);
        self.totals.expose(&State {
            tool: Tool::this(),
            hooks: report.map_or_else(Vec::new, |report| report.hooks.clone()),
            self_cost: report.map(|report| report.self_cost).unwrap_or_default(),
            processes,
        })
    }

    /// Adds how the history is.
    pub(super) fn tell(&self, health: &mut Health) {
        let Some(state) = self.archive.as_ref().map(Archive::state) else { return };
        if let Some(error) = &state.error {
            health.add_problem(format!("the history cannot be written: {error}"));
        }
        if state.lost > 0 {
            health.add_problem(format!(
                "intervals that are in no history, as they could not be written: {}",
                state.lost
            ));
        }
        health.history = Some(state);
    }
}
