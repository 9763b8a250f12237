//! Intervals as rows of the tables, and back.

use std::{borrow::Cow, fs::File};

use jiff::Timestamp;

use super::{
    columns::{Reason, Row, TableReader},
    error::HistoryError,
    host::Host,
    schema::{INTERVALS, LOSSES, PATHS, PROCESSES, Table},
    stored::{Stored, StoredProcess, StoredRow},
    table::{TableWriter, Value},
};

/// Columns of the host at the front of every row.
const HOST_COLUMNS: usize = 5;
/// Columns at the front of a row of `paths` that are those of its process.
const PROCESS_COLUMNS_OF_PATHS: usize = 6;

/// The files of one segment, while they are written.
pub(super) struct Tables {
    intervals: TableWriter,
    losses: TableWriter,
    processes: TableWriter,
    paths: TableWriter,
}

impl Tables {
    pub(super) fn create(
        mut create: impl FnMut(Table) -> Result<TableWriter, HistoryError>,
    ) -> Result<Self, HistoryError> {
        Ok(Self {
            intervals: create(INTERVALS)?,
            losses: create(LOSSES)?,
            processes: create(PROCESSES)?,
            paths: create(PATHS)?,
        })
    }

    pub(super) fn push(&mut self, stored: &Stored<'_>) -> Result<(), HistoryError> {
        let Stored { host, start, end, lost, processes } = stored;
        let common = common(host, *start, *end);
        let path_rows: usize = processes.iter().map(|process| process.paths.len()).sum();
        let counts = [processes.len() as u64, path_rows as u64];
        self.intervals.push(common.into_iter().chain(counts.map(Value::from)))?;
        for (counter, &count) in lost {
            let counter = Value::Text(counter);
            self.losses.push(common.into_iter().chain([counter, count.into()]))?;
        }
        for process in processes {
            self.push_process(&common, process)?;
        }
        Ok(())
    }

    fn push_process(
        &mut self,
        common: &[Value<'_>; 7],
        process: &StoredProcess<'_>,
    ) -> Result<(), HistoryError> {
        let words = &process.cmdline;
        let cmdline = (!words.is_empty()).then(|| serde_json::to_string(words).unwrap_or_default());
        let [comm, exe, cgroup, container] =
            [&process.comm, &process.exe, &process.cgroup, &process.container]
                .map(|text| Value::from(text.as_deref()));
        let [pid, start_ns] = [process.pid.into(), process.start_ns.into()];
        let own = [
            pid,
            process.ppid.into(),
            start_ns,
            comm,
            exe,
            cmdline.as_deref().into(),
            cgroup,
            container,
            process.exit_code.into(),
            process.syscalls.into(),
            process.exception_mode_switches.into(),
            process.voluntary_context_switches.into(),
            process.involuntary_context_switches.into(),
            process.minor_page_faults.into(),
            process.major_page_faults.into(),
            process.device_read_bytes.into(),
        ];
        self.processes.push(common.iter().copied().chain(own))?;
        for row in &process.paths {
            let of_process: [_; PROCESS_COLUMNS_OF_PATHS] = [pid, start_ns, comm, exe, cgroup, container];
            self.paths.push(common.iter().copied().chain(of_process).chain(path_row(row)))?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), HistoryError> {
        let Self { intervals, losses, processes, paths } = self;
        [losses, processes, paths, intervals].into_iter().try_for_each(TableWriter::finish)
    }
}

fn common(host: &Host, start: Timestamp, end: Timestamp) -> [Value<'_>; 7] {
    let Host { hostname, kernel, arch, cpus, boot_id } = host;
    [
        hostname.as_str().into(),
        kernel.as_str().into(),
        arch.as_str().into(),
        (*cpus).into(),
        boot_id.as_deref().into(),
        start.as_microsecond().into(),
        end.as_microsecond().into(),
    ]
}

fn path_row<'a>(row: &'a StoredRow<'_>) -> [Value<'a>; 20] {
    [
        Value::Text(&row.path),
        Value::Text(&row.via),
        Value::Text(&row.source),
        Value::Text(&row.destination),
        row.transfers.into(),
        row.syscalls.into(),
        row.bytes.into(),
        row.cpu_copied_bytes.into(),
        row.by_reference_bytes.into(),
        row.unknown_bytes.into(),
        row.device_read_bytes.into(),
        row.mode_switches.into(),
        row.voluntary_context_switches.into(),
        row.involuntary_context_switches.into(),
        row.minor_page_faults.into(),
        row.major_page_faults.into(),
        Value::Text(&row.evidence),
        row.reason.as_deref().into(),
        row.rchar_bytes.into(),
        row.wchar_bytes.into(),
    ]
}

/// The files of one segment, read side by side: their rows are in the same order.
pub(super) struct Files {
    intervals: TableReader,
    losses: TableReader,
    processes: TableReader,
    paths: TableReader,
}

impl Files {
    pub(super) fn open(mut open: impl FnMut(Table) -> Result<File, Reason>) -> Result<Self, Reason> {
        let mut reader = |table| TableReader::new(open(table)?, table);
        Ok(Self {
            intervals: reader(INTERVALS)?,
            losses: reader(LOSSES)?,
            processes: reader(PROCESSES)?,
            paths: reader(PATHS)?,
        })
    }

    /// The next interval.
    pub(super) fn next(&mut self) -> Result<Option<Stored<'static>>, Reason> {
        let Some((host, when)) = self.intervals.next_if(|row| Ok(Some((host(row)?, when(row)?))))? else {
            return self.nothing_is_left();
        };
        let mut lost = std::collections::BTreeMap::new();
        let is_of = |row: &mut Row<'_>| {
            row.skip(HOST_COLUMNS);
            Ok::<_, Reason>(self::when(row)? == when)
        };
        while let Some((counter, count)) = self.losses.next_if(|row| {
            Ok(if is_of(row)? {
                Some((row.text()?.to_owned(), row.integer()?.cast_unsigned()))
            } else {
                None
            })
        })? {
            lost.insert(Cow::Owned(counter), count);
        }
        let mut processes = Vec::new();
        while let Some(mut process) =
            self.processes.next_if(|row| if is_of(row)? { process(row).map(Some) } else { Ok(None) })?
        {
            let id = (process.pid, process.start_ns);
            while let Some(row) = self.paths.next_if(|row| {
                let is_of = is_of(row)? && (pid(row)?, row.integer()?.cast_unsigned()) == id;
                row.skip(PROCESS_COLUMNS_OF_PATHS - 2);
                if is_of { stored_row(row).map(Some) } else { Ok(None) }
            })? {
                process.paths.push(row);
            }
            processes.push(process);
        }
        let (start, end) = when;
        let [start, end] = [time(start)?, time(end)?];
        Ok(Some(Stored { host: Cow::Owned(host), start, end, lost, processes }))
    }

    fn nothing_is_left<T>(&mut self) -> Result<Option<T>, Reason> {
        let Self { intervals: _, losses, processes, paths } = self;
        for reader in [losses, processes, paths] {
            if reader.next_if(|_| Ok(Some(())))?.is_some() {
                return Err(
                    "its tables do not belong together, or their rows were put in another order".to_owned()
                );
            }
        }
        Ok(None)
    }
}

fn host(row: &mut Row<'_>) -> Result<Host, Reason> {
    Ok(Host {
        hostname: row.text()?.to_owned(),
        kernel: row.text()?.to_owned(),
        arch: row.text()?.to_owned(),
        cpus: row.integer_if_any().and_then(|cpus| cpus.try_into().ok()).unwrap_or(0),
        boot_id: row.text_if_any()?.map(str::to_owned),
    })
}

/// Start and end, in microseconds since 1970.
fn when(row: &mut Row<'_>) -> Result<(i64, i64), Reason> {
    Ok((row.integer()?, row.integer()?))
}

fn time(microseconds: i64) -> Result<Timestamp, Reason> {
    Timestamp::from_microsecond(microseconds).map_err(|error| error.to_string())
}

fn pid(row: &mut Row<'_>) -> Result<u32, Reason> {
    u32::try_from(row.integer()?).map_err(|_| "a process id is out of range".to_owned())
}

fn maybe_text(row: &mut Row<'_>) -> Result<Option<Cow<'static, str>>, Reason> {
    Ok(row.text_if_any()?.map(|text| Cow::Owned(text.to_owned())))
}

fn owned(row: &mut Row<'_>) -> Result<Cow<'static, str>, Reason> {
    Ok(Cow::Owned(row.text()?.to_owned()))
}

fn process(row: &mut Row<'_>) -> Result<StoredProcess<'static>, Reason> {
    Ok(StoredProcess {
        pid: pid(row)?,
        ppid: row.integer_if_any().and_then(|ppid| ppid.try_into().ok()),
        start_ns: row.integer()?.cast_unsigned(),
        comm: maybe_text(row)?,
        exe: maybe_text(row)?,
        cmdline: match row.text_if_any()? {
            Some(words) => serde_json::from_str(words).map_err(|error| format!("a command line: {error}"))?,
            None => Vec::new(),
        },
        cgroup: maybe_text(row)?,
        container: maybe_text(row)?,
        exit_code: row.integer_if_any().and_then(|code| code.try_into().ok()),
        syscalls: row.integer_if_any(),
        exception_mode_switches: row.integer_if_any(),
        voluntary_context_switches: row.integer_if_any(),
        involuntary_context_switches: row.integer_if_any(),
        minor_page_faults: row.integer_if_any(),
        major_page_faults: row.integer_if_any(),
        device_read_bytes: row.integer_if_any(),
        paths: Vec::new(),
    })
}

fn stored_row(row: &mut Row<'_>) -> Result<StoredRow<'static>, Reason> {
    Ok(StoredRow {
        path: owned(row)?,
        via: owned(row)?,
        source: owned(row)?,
        destination: owned(row)?,
        transfers: row.integer()?,
        syscalls: row.integer()?,
        bytes: row.integer()?,
        cpu_copied_bytes: row.integer_if_any(),
        by_reference_bytes: row.integer_if_any(),
        unknown_bytes: row.integer()?,
        device_read_bytes: row.integer_if_any(),
        mode_switches: row.integer()?,
        voluntary_context_switches: row.integer_if_any(),
        involuntary_context_switches: row.integer_if_any(),
        minor_page_faults: row.integer_if_any(),
        major_page_faults: row.integer_if_any(),
        evidence: owned(row)?,
        reason: maybe_text(row)?,
        rchar_bytes: row.integer()?,
        wchar_bytes: row.integer()?,
    })
}
