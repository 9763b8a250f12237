//! JSON: the contract, see `docs/output.md`.

use std::io;

use super::Options;
use crate::{
    model::{Report, report::Omitted},
    render::view,
};

/// The report as one indented JSON object and a line end, cut only when a limit was asked for.
pub fn to_vec(report: &Report, options: &Options) -> io::Result<Vec<u8>> {
    let mut report = report.clone();
    view::sort(&mut report.processes, options.sort);
    if let Some(limit) = options.limit {
        cut(&mut report, limit);
    }
    let mut bytes = serde_json::to_vec_pretty(&report)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Keeps the first `limit` processes and the first `limit` flows of each, and says what went.
pub(crate) fn cut(report: &mut Report, limit: usize) {
    let mut omitted = report.omitted.unwrap_or_default();
    let gone = report.processes.split_off(limit.min(report.processes.len()));
    let flows = report.flows.len();
    let mut kept: std::collections::HashMap<_, _> =
        report.processes.iter().map(|process| ((process.start_ns, process.pid), 0)).collect();
    report.flows.retain(|flow| match kept.get_mut(&(flow.start_ns, flow.pid)) {
        Some(count) if *count < limit => {
            *count += 1;
            true
        }
        _ => false,
    });
    omitted.processes += gone.len() as u64;
    omitted.paths += gone.iter().map(|process| process.paths.len() as u64).sum::<u64>();
    omitted.flows += (flows - report.flows.len()) as u64;
    report.omitted = Some(Omitted { ..omitted });
}
