//! An interval as it is kept: by names, so that another version can read it. Zeros and what is not known are left out.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zc_common::path::{Kind, Path};

use super::host::Host;
use crate::model::{
    interval::{Interval, ProcessChange, RowChange, RowName, TotalsChange, Who},
    reason::Reason,
    report::{Evidence, Via},
};

/// How much of a command line is kept.
pub(super) const CMDLINE_MAX_BYTES: usize = 4096;

/// What one record of a segment has.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored<'a> {
    pub(super) host: Cow<'a, Host>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) lost: BTreeMap<Cow<'a, str>, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) processes: Vec<StoredProcess<'a>>,
}

type Text<'a> = Cow<'a, str>;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredProcess<'a> {
    pub(super) pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ppid: Option<u32>,
    pub(super) start_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comm: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cmdline: Vec<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) syscalls: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exception_mode_switches: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) voluntary_context_switches: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) involuntary_context_switches: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) minor_page_faults: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) major_page_faults: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device_read_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) paths: Vec<StoredRow<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredRow<'a> {
    pub(super) path: Text<'a>,
    pub(super) via: Text<'a>,
    pub(super) source: Text<'a>,
    pub(super) destination: Text<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) transfers: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) syscalls: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_copied_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by_reference_bytes: Option<i64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) unknown_bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device_read_bytes: Option<i64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) mode_switches: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) voluntary_context_switches: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) involuntary_context_switches: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) minor_page_faults: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) major_page_faults: Option<i64>,
    pub(super) evidence: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Text<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) rchar_bytes: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) wchar_bytes: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl<'a> Stored<'a> {
    pub(super) fn of(host: &'a Host, interval: &'a Interval) -> Self {
        Self {
            host: Cow::Borrowed(host),
            start: whole_microseconds(interval.start),
            end: whole_microseconds(interval.end),
            lost: interval.lost.iter().map(|(name, &count)| (name.as_str().into(), count)).collect(),
            processes: interval.processes.iter().map(StoredProcess::of).collect(),
        }
    }

    /// The interval, and how many rows of it this version has no words for.
    pub(super) fn into_interval(self) -> (Host, Interval, usize) {
        let Self { host, start, end, lost, processes } = self;
        let mut unknown = 0;
        let processes = processes.into_iter().map(|process| process.into_change(&mut unknown)).collect();
        let lost = lost.into_iter().map(|(name, count)| (name.into_owned(), count)).collect();
        (host.into_owned(), Interval { start, end, lost, processes }, unknown)
    }
}

/// What both forms of storage can hold.
fn whole_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

impl<'a> StoredProcess<'a> {
    fn of(process: &'a ProcessChange) -> Self {
        let ProcessChange { who, exit_code, totals, rows } = process;
        let Who { pid, ppid, start_ns, comm, exe, cmdline, cgroup, container } = who;
        Self {
            pid: *pid,
            ppid: *ppid,
            start_ns: *start_ns,
            comm: comm.as_deref().map(Cow::Borrowed),
            exe: exe.as_deref().map(Cow::Borrowed),
            cmdline: beginning(cmdline),
            cgroup: cgroup.as_deref().map(Cow::Borrowed),
            container: container.as_deref().map(Cow::Borrowed),
            exit_code: *exit_code,
            syscalls: totals.syscalls,
            exception_mode_switches: totals.exception_mode_switches,
            voluntary_context_switches: totals.voluntary,
            involuntary_context_switches: totals.involuntary,
            minor_page_faults: totals.minor_faults,
            major_page_faults: totals.major_faults,
            device_read_bytes: totals.device_read_bytes,
            paths: rows.iter().map(StoredRow::of).collect(),
        }
    }

    fn into_change(self, unknown: &mut usize) -> ProcessChange {
        let rows: Vec<_> = self.paths.iter().map(StoredRow::change).collect();
        *unknown += rows.iter().filter(|row| row.is_none()).count();
        ProcessChange {
            who: Who {
                pid: self.pid,
                ppid: self.ppid,
                start_ns: self.start_ns,
                comm: self.comm.map(Cow::into_owned),
                exe: self.exe.map(Cow::into_owned),
                cmdline: self.cmdline.into_iter().map(Cow::into_owned).collect(),
                cgroup: self.cgroup.map(Cow::into_owned),
                container: self.container.map(Cow::into_owned),
            },
            exit_code: self.exit_code,
            totals: TotalsChange {
                syscalls: self.syscalls,
                exception_mode_switches: self.exception_mode_switches,
                voluntary: self.voluntary_context_switches,
                involuntary: self.involuntary_context_switches,
                minor_faults: self.minor_page_faults,
                major_faults: self.major_page_faults,
                device_read_bytes: self.device_read_bytes,
            },
            rows: rows.into_iter().flatten().collect(),
        }
    }
}

/// The first words of a command line, and as much of the last one as there is room for.
fn beginning(words: &[String]) -> Vec<Text<'_>> {
    let mut room = CMDLINE_MAX_BYTES;
    let mut kept = Vec::new();
    for word in words {
        // A word without letters takes room, too.
        if room == 0 {
            break;
        }
        let end = (0..=room.min(word.len())).rev().find(|&end| word.is_char_boundary(end)).unwrap_or(0);
        let part = &word[..end];
        room = if part.len() < word.len() { 0 } else { room - part.len() };
        room = room.saturating_sub(1);
        kept.push(part.into());
    }
    kept
}

impl StoredRow<'_> {
    fn of(row: &RowChange) -> StoredRow<'static> {
        let RowName { path, via, source, destination } = row.name;
        StoredRow {
            path: path.name().into(),
            via: via.name().into(),
            source: source.name().into(),
            destination: destination.name().into(),
            transfers: row.transfers,
            syscalls: row.syscalls,
            bytes: row.bytes,
            cpu_copied_bytes: row.cpu_copied_bytes,
            by_reference_bytes: row.by_reference_bytes,
            unknown_bytes: row.unknown_bytes,
            device_read_bytes: row.device_read_bytes,
            mode_switches: row.mode_switches,
            voluntary_context_switches: row.voluntary,
            involuntary_context_switches: row.involuntary,
            minor_page_faults: row.minor_faults,
            major_page_faults: row.major_faults,
            evidence: row.evidence.name().into(),
            reason: row.reason.map(|reason| reason.text().into()),
            rchar_bytes: row.rchar_bytes,
            wchar_bytes: row.wchar_bytes,
        }
    }

    /// `None` when this version does not know how the bytes went. What else it does not know it takes for the least that it can be.
    fn change(&self) -> Option<RowChange> {
        let known = |text: &str| Reason::ALL.into_iter().find(|reason| reason.text() == text);
        let evidence = [Evidence::Witnessed, Evidence::Reported, Evidence::Inferred];
        Some(RowChange {
            name: RowName {
                path: Path::ALL.into_iter().find(|path| path.name() == self.path)?,
                via: [Via::Syscall, Via::IoUring, Via::Aio].into_iter().find(|via| via.name() == self.via)?,
                source: kind(&self.source),
                destination: kind(&self.destination),
            },
            transfers: self.transfers,
            syscalls: self.syscalls,
            bytes: self.bytes,
            cpu_copied_bytes: self.cpu_copied_bytes,
            by_reference_bytes: self.by_reference_bytes,
            unknown_bytes: self.unknown_bytes,
            device_read_bytes: self.device_read_bytes,
            mode_switches: self.mode_switches,
            voluntary: self.voluntary_context_switches,
            involuntary: self.involuntary_context_switches,
            minor_faults: self.minor_page_faults,
            major_faults: self.major_page_faults,
            rchar_bytes: self.rchar_bytes,
            wchar_bytes: self.wchar_bytes,
            evidence: evidence
                .into_iter()
                .find(|evidence| evidence.name() == self.evidence)
                .unwrap_or(Evidence::Inferred),
            reason: self.reason.as_deref().and_then(known),
        })
    }
}

fn kind(name: &str) -> Kind {
    (0..=u8::MAX).map_while(Kind::from_u8).find(|kind| kind.name() == name).unwrap_or(Kind::Other)
}
