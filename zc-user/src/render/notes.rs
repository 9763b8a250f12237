//! What stands below the table: what was lost or missing, and why verdicts are what they are.

use std::collections::BTreeMap;

use super::{
    human::{self, wrap},
    paint::Paint,
    table::WIDTH,
};
use crate::model::{
    inside,
    reason::Reason,
    report::{HookStatus, Report, Sampling},
};

/// Reasons in the order in which they came up; the index plus one is the number of the footnote.
#[derive(Default)]
pub(super) struct Footnotes(Vec<Reason>);

impl Footnotes {
    /// The number of a reason's footnote.
    pub(super) fn number(&mut self, reason: Reason) -> usize {
        let index = self.0.iter().position(|known| *known == reason).unwrap_or_else(|| {
            self.0.push(reason);
            self.0.len() - 1
        });
        index + 1
    }

    /// The footnotes, a line or more for each.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(index, reason): (usize, &Reason)| {
            let hint = reason.hint().map_or_else(String::new, |hint| format!("; {hint}"));
            wrap(&format!("[{}] {reason}{hint}", index + 1), WIDTH, "    ")
        };
        self.0.iter().enumerate().map(line).collect()
    }
}

/// What to do about a loss.
pub(super) fn remedy(counter: &str) -> Option<&'static str> {
    Some(match counter {
        "ring_full" => "--ring-bytes",
        "rows_full" => "--rows-max",
        "threads_full" => "--threads-max",
        "objects_full" => "--objects-max",
        "pairs_evicted" => "--pair-sets",
        "flows_overflow" => "--flows-max",
        _ => return None,
    })
}

/// `lost: nothing`, or every counter that is not zero with the option that enlarges what was too small.
pub(super) fn lost(report: &Report, paint: Paint) -> String {
    loss_list(&report.lost, paint)
}

/// The same of the counters alone.
pub(crate) fn loss_list(lost: &BTreeMap<String, u64>, paint: Paint) -> String {
    let counters: Vec<_> = lost.iter().filter(|(_, count)| **count > 0).collect();
    if counters.is_empty() {
        return "lost: nothing".to_owned();
    }
    let show = |(name, count): &(&String, &u64)| match remedy(name) {
        Some(option) => format!("{name} {count} (raise {option})"),
        None => format!("{name} {count}"),
    };
    let list: Vec<_> = counters.iter().map(show).collect();
    paint.alarm(&wrap(&format!("lost: {}", list.join(", ")), WIDTH, "    "))
}

/// What was looked at in part only.
pub(super) fn sampled(sampling: Sampling) -> String {
    format!("sampled: one connection in {} was looked at as it sent", sampling.connections_one_in)
}

/// A line for each hook that could not be attached. Of those on functions inside the kernel one for each reason, and only
/// when there is a row that they would have been for.
pub(super) fn missing(report: &Report) -> Vec<String> {
    let unavailable = report.hooks.iter().filter(|hook| hook.status == HookStatus::Unavailable);
    let (functions, others): (Vec<_>, Vec<_>) =
        unavailable.partition(|hook| inside::HOOKS.contains(&hook.name.as_str()));
    let line = |names: &str, reason: Option<&str>| {
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        wrap(&human::printable(&format!("missing: {names}{reason}")), WIDTH, "    ")
    };
    let mut lines: Vec<_> = others.into_iter().map(|hook| line(&hook.name, hook.reason.as_deref())).collect();
    let mut rows = report.processes.iter().flat_map(|process| &process.paths);
    if rows.any(|row| row.figures.reason.is_some_and(Reason::is_inside)) {
        let mut by_reason = BTreeMap::<_, Vec<_>>::new();
        for hook in functions {
            by_reason.entry(hook.reason.as_deref()).or_default().push(hook.name.as_str());
        }
        lines.extend(by_reason.iter().map(|(reason, names)| line(&names.join(", "), *reason)));
    }
    lines
}

/// How each hook is attached.
pub(super) fn hooks(report: &Report) -> String {
    let show = |hook: &crate::model::report::Hook| match (hook.status, &hook.method) {
        (HookStatus::Attached, Some(method)) => format!("{} ({method})", hook.name),
        (HookStatus::Attached, None) => hook.name.clone(),
        (HookStatus::Disabled, _) => format!("{} (off)", hook.name),
        (HookStatus::Unavailable, _) => format!("{} (missing)", hook.name),
    };
    let list: Vec<_> = report.hooks.iter().map(show).collect();
    wrap(&human::printable(&format!("hooks: {}", list.join(", "))), WIDTH, "    ")
}

/// What zc itself cost, as far as it was measured.
pub(super) fn own_cost(report: &Report) -> Option<String> {
    let cost = report.self_cost;
    let parts: Vec<_> = [
        cost.cpu_seconds.map(|seconds| format!("{seconds:.2} s of processor time")),
        cost.rss_bytes.map(human::bytes),
        cost.bpf_runs.map(|runs| human::plural(runs, "run in the kernel", "runs in the kernel")),
        cost.bpf_ns.map(|ns| format!("{:.1} ms there", ns as f64 / 1e6)),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| format!("zc itself: {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_documented_with_its_remedy() {
        let document = include_str!("../../../docs/output.md");
        let of_kernel = zc_common::loss::Loss::ALL.map(zc_common::loss::Loss::name);
        let of_model = [crate::model::account::LOST_UNPAIRED, crate::model::account::LOST_ROWS_UNKNOWN];
        for counter in of_kernel.into_iter().chain(of_model) {
            let row = document.lines().find(|line| line.starts_with(&format!("| `{counter}` |")));
            let row = row.unwrap_or_else(|| panic!("{counter} is not in docs/output.md"));
            assert!(remedy(counter).is_none_or(|option| row.contains(option)), "{counter}");
        }
    }
}
