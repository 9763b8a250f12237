//! Samples for tests.

use std::collections::{BTreeMap, HashMap};

use zc_common::row::Costs;

use super::{
    report::{Evidence, Figures, Host, SelfCost, Verdict, Window},
    samples::{Counted, Samples, ThreadTotals},
};

/// A session in which nothing happened.
pub(crate) fn samples() -> Samples {
    Samples {
        host: Host {
            kernel: "6.12.0".to_owned(),
            arch: "x86_64".to_owned(),
            hostname: "host".to_owned(),
            cpus: 4,
        },
        window: Window { start: "2026-03-01T12:00:00Z".parse().unwrap(), seconds: 2.5 },
        hooks: Vec::new(),
        sampling: None,
        goes_on: false,
        lost: BTreeMap::from([("ring_full".to_owned(), 0)]),
        self_cost: SelfCost::default(),
        counted: Counted::default(),
        rows: Vec::new(),
        objects: HashMap::new(),
        processes: Vec::new(),
        live_totals: Vec::new(),
    }
}

/// A thread of process `tgid` that started at 1.
pub(crate) fn totals(process: u32, tid: u32, flags: u32) -> ThreadTotals {
    ThreadTotals {
        tid,
        thread_start_ns: 1,
        tgid: process,
        process_start_ns: 1,
        flags,
        own: Costs { calls: 10, voluntary: 3, involuntary: 2, minor: 12, major: 1, device_read_bytes: 0 },
        user_faults: 7,
    }
}

/// One transfer by one call, of which only the copies are known.
pub(crate) fn figures(bytes: u64, copied: Option<u64>, by_reference: Option<u64>, unknown: u64) -> Figures {
    Figures {
        transfers: 1,
        syscalls: 1,
        bytes,
        cpu_copied_bytes: copied,
        by_reference_bytes: by_reference,
        unknown_bytes: unknown,
        device_read_bytes: None,
        device_sent_bytes: None,
        mode_switches: 2,
        context_switches: None,
        page_faults: None,
        seconds: None,
        verdict: Verdict::Unknown,
        evidence: Evidence::Inferred,
        reason: None,
        rchar_bytes: 0,
        wchar_bytes: 0,
    }
}
