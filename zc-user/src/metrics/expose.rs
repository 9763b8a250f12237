//! From sums to samples.

use std::borrow::Cow;

use jiff::Timestamp;

use super::{
    exposition::Exposition,
    families as f,
    services::Service,
    sum::Moved,
    totals::{Last, RowSums, Totals},
};
use crate::model::{
    interval::RowName,
    report::{Hook, HookStatus, Report, SelfCost, Tool},
};

/// What is as it is now, and is in no interval.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// This build.
    pub tool: Tool,
    /// Hooks, as they are attached.
    pub hooks: Vec<Hook>,
    /// What zc itself has cost.
    pub self_cost: SelfCost,
    /// Traced processes that have not ended.
    pub processes: u64,
}

impl State {
    /// As the last look has it.
    pub fn of(report: &Report) -> Self {
        let Report { tool, hooks, self_cost, processes, .. } = report;
        let alive = processes.iter().filter(|process| process.exit_code.is_none()).count();
        Self { tool: tool.clone(), hooks: hooks.clone(), self_cost: *self_cost, processes: alive as u64 }
    }
}

impl Totals {
    /// All samples. Those of numbers that nobody has counted yet are left out, unlike zeros.
    pub fn expose(&self, state: &State) -> Exposition {
        let mut out = Exposition::default();
        let State { tool, hooks, self_cost, processes } = state;
        let commit = tool.commit.clone().unwrap_or_else(|| "unknown".to_owned());
        out.add(&f::BUILD_INFO, [tool.version.clone(), commit], 1);
        self.expose_looks(&mut out);
        self.expose_moved(&mut out);
        self.expose_rows(&mut out);
        self.expose_reasons(&mut out);
        self.expose_services(&mut out);
        self.expose_processes(&mut out);
        out.add_plain(&f::PROCESSES, *processes);
        out.add_plain(&f::PROCESSES_ENDED, self.processes_ended);
        for (reason, count) in &self.lost {
            out.add(&f::EVENTS_LOST, [*reason], *count);
        }
        expose_hooks(&mut out, hooks);
        expose_self(&mut out, self_cost);
        out
    }

    fn expose_looks(&self, out: &mut Exposition) {
        if let Some(start) = self.start {
            out.add_plain(&f::START, unix_seconds(start));
        }
        if let Some(Last { end, seconds }) = self.last {
            out.add_plain(&f::LAST_LOOK, unix_seconds(end));
            out.add_plain(&f::LOOK_INTERVAL, seconds);
        }
        out.add_plain(&f::LOOKS, self.looks);
    }

    fn expose_moved(&self, out: &mut Exposition) {
        let Moved { bytes, copied, by_reference, unknown } = &self.moved;
        out.add_plain(&f::PAYLOAD_BYTES, bytes.counter());
        // Beside what is unknown, nothing known is a sum like any other.
        out.add_plain(&f::COPIED_BYTES, copied.counter().unwrap_or(0));
        out.add_plain(&f::BY_REFERENCE_BYTES, by_reference.counter().unwrap_or(0));
        out.add_plain(&f::UNKNOWN_BYTES, unknown.gauge());
        for (evidence, sum) in &self.known {
            out.add(&f::KNOWN_BYTES, [evidence.name()], sum.counter());
        }
    }

    fn expose_rows(&self, out: &mut Exposition) {
        let mut rows: Vec<_> = self.rows.iter().map(|(name, sums)| (labels(*name), sums)).collect();
        rows.sort_unstable_by_key(|(labels, _)| *labels);
        let mut of = |family, read: fn(&RowSums) -> Option<u64>| {
            for (labels, sums) in &rows {
                if let Some(value) = read(sums) {
                    out.add(family, *labels, value);
                }
            }
        };
        of(&f::TRANSFER_BYTES, |row| Some(row.moved.bytes.counter()));
        of(&f::TRANSFERS, |row| Some(row.transfers.counter()));
        of(&f::TRANSFER_SYSCALLS, |row| Some(row.syscalls.counter()));
        of(&f::TRANSFER_COPIED_BYTES, |row| row.moved.copied.counter());
        of(&f::TRANSFER_BY_REFERENCE_BYTES, |row| row.moved.by_reference.counter());
        of(&f::TRANSFER_UNKNOWN_BYTES, |row| Some(row.moved.unknown.gauge()));
    }

    fn expose_reasons(&self, out: &mut Exposition) {
        for (reason, sum) in &self.reasons {
            out.add(&f::REASON_COPIED_BYTES, [*reason], sum.counter());
        }
        for ((path, reason), sum) in &self.fallbacks {
            out.add(&f::FALLBACK_COPIED_BYTES, [path.name(), *reason], sum.counter());
        }
    }

    fn expose_services(&self, out: &mut Exposition) {
        let Some(services) = &self.services else { return };
        let each = || services.iter().map(|(name, service)| (Cow::from(name.to_owned()), service));
        for (name, service) in each() {
            for (path, sum) in &service.paths {
                out.add(&f::SERVICE_TRANSFER_BYTES, [name.clone(), path.name().into()], sum.counter());
            }
        }
        let mut of = |family, read: fn(&Service) -> u64| {
            for (name, service) in each() {
                out.add(family, [name], read(service));
            }
        };
        of(&f::SERVICE_PAYLOAD_BYTES, |service| service.moved.bytes.counter());
        of(&f::SERVICE_COPIED_BYTES, |service| service.moved.copied.counter().unwrap_or(0));
        of(&f::SERVICE_BY_REFERENCE_BYTES, |service| service.moved.by_reference.counter().unwrap_or(0));
        of(&f::SERVICE_UNKNOWN_BYTES, |service| service.moved.unknown.gauge());
        for (name, service) in each() {
            for (reason, sum) in &service.fallbacks {
                let labels = [name.clone(), Cow::from(*reason)];
                out.add(&f::SERVICE_FALLBACK_COPIED_BYTES, labels, sum.counter());
            }
        }
        let (taken, most) = services.places();
        out.add_plain(&f::SERVICES, taken as u64);
        out.add_plain(&f::SERVICES_MAX, most as u64);
    }

    fn expose_processes(&self, out: &mut Exposition) {
        let sums = &self.processes;
        let calls = sums.syscalls.counter();
        let mut of = |family, kind: Option<&'static str>, value: Option<u64>| {
            if let Some(value) = value {
                out.add(family, kind, value);
            }
        };
        of(&f::SYSCALLS, None, calls);
        of(&f::MODE_SWITCHES, Some("syscall"), calls.map(|calls| calls.saturating_mul(2)));
        of(&f::MODE_SWITCHES, Some("exception"), sums.exception_mode_switches.counter());
        of(&f::CONTEXT_SWITCHES, Some("voluntary"), sums.voluntary.counter());
        of(&f::CONTEXT_SWITCHES, Some("involuntary"), sums.involuntary.counter());
        of(&f::PAGE_FAULTS, Some("minor"), sums.minor_faults.counter());
        of(&f::PAGE_FAULTS, Some("major"), sums.major_faults.counter());
        of(&f::DEVICE_READ_BYTES, None, sums.device_read_bytes.counter());
    }
}

fn labels(name: RowName) -> [&'static str; 4] {
    [name.path.name(), name.via.name(), name.source.name(), name.destination.name()]
}

fn expose_hooks(out: &mut Exposition, hooks: &[Hook]) {
    for Hook { name, method, status, reason: _ } in hooks {
        let value: u64 = match status {
            HookStatus::Attached => 1,
            HookStatus::Unavailable => 0,
            // What nobody asked for is not missing.
            HookStatus::Disabled => continue,
        };
        let method = method.clone().unwrap_or_else(|| "none".to_owned());
        out.add(&f::HOOK_ATTACHED, [name.clone(), method], value);
    }
}

fn expose_self(out: &mut Exposition, cost: &SelfCost) {
    let SelfCost { bpf_runs, bpf_ns, cpu_seconds, rss_bytes } = *cost;
    if let Some(runs) = bpf_runs {
        out.add_plain(&f::BPF_RUNS, runs);
    }
    if let Some(ns) = bpf_ns {
        out.add_plain(&f::BPF_RUN_TIME, ns as f64 / 1e9);
    }
    if let Some(seconds) = cpu_seconds {
        out.add_plain(&f::SELF_CPU, seconds);
    }
    if let Some(bytes) = rss_bytes {
        out.add_plain(&f::SELF_RESIDENT_MEMORY, bytes);
    }
}

/// To the millisecond, which is as exact as Prometheus stores times.
fn unix_seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}
