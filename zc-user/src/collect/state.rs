//! What records add up to.

use std::collections::{HashMap, HashSet};

use zc_common::{
    path::Path,
    record::{ARGS_BYTES, ExecRecord, ProcessRecord},
    row::{RowKey, RowValue, THROUGH_UNNAMED},
    zerocopy::Reported,
};

use super::{
    name,
    record::{Record, parse},
};
use crate::model::{
    samples::{ObjectSample, ProcessSample, Row},
    seen::Seen,
};

/// A process: its id and when it started.
pub type ProcessKey = (u32, u64);

/// A process, with what still has to be looked up.
#[derive(Clone, Debug, Default)]
pub struct Tracked {
    /// What is known.
    pub sample: ProcessSample,
    /// Inode of its cgroup's directory.
    pub cgroup_id: u64,
    /// Object of its executable, 0 when it was not named.
    pub exe: u32,
    /// It ran before it was traced.
    pub attached: bool,
}

/// Everything seen so far. Its size depends on how many processes and named ends there were, not on how many
/// calls or threads.
#[derive(Debug, Default)]
pub struct State {
    rows: HashMap<RowKey, RowValue>,
    seen: HashMap<RowKey, Seen>,
    /// What ids in rows stand for.
    pub objects: HashMap<u32, ObjectSample>,
    /// Processes that were traced.
    pub processes: HashMap<ProcessKey, Tracked>,
    /// No id up to this one stands for anything that is not in `objects`: it was forgotten.
    forgotten_up_to: u32,
    /// Records that were none.
    pub malformed: u64,
}

impl State {
    /// Takes in a record.
    pub fn record(&mut self, bytes: &[u8]) {
        match parse(bytes) {
            Some(Record::Row(row)) => self.row(row.key, &row.value),
            Some(Record::Fork(record)) => self.fork(&record),
            Some(Record::Exec(record)) => self.exec(&record),
            Some(Record::Exit(record)) => self.exit(&record),
            Some(Record::Object(record)) => {
                self.objects.insert(record.id, name::sample(&record));
            }
            None => self.malformed += 1,
        }
    }

    /// The key of a row without ids that were forgotten.
    fn known_key(&self, key: &RowKey) -> RowKey {
        let is_forgotten = |id: u32| id != 0 && id <= self.forgotten_up_to && !self.objects.contains_key(&id);
        let known = |id| if is_forgotten(id) { 0 } else { id };
        RowKey {
            source: known(key.source),
            destination: known(key.destination),
            // A pipe without a name is not the same as none.
            through: if is_forgotten(key.through) { THROUGH_UNNAMED } else { key.through },
            ..*key
        }
    }

    /// Whether a row has an id that was forgotten.
    pub(super) fn is_forgotten(&self, key: &RowKey) -> bool {
        self.known_key(key) != *key
    }

    /// Forgets what these ids stand for. Rows that have one of them are from then on those of their path and kinds.
    pub(super) fn forget_names(&mut self, old: &HashSet<u32>) {
        self.objects.retain(|id, _| !old.contains(id));
        self.forgotten_up_to = old.iter().copied().max().unwrap_or(0).max(self.forgotten_up_to);
        for (key, value) in std::mem::take(&mut self.rows) {
            let known = self.known_key(&key);
            add_row(self.rows.entry(known).or_insert_with(|| RowValue::of_process(&value)), &value);
        }
        for (key, seen) in std::mem::take(&mut self.seen) {
            let known = self.known_key(&key);
            self.seen.entry(known).or_default().add(&seen);
        }
    }

    /// Takes in a row, adding up those of the threads of a process.
    pub fn row(&mut self, key: RowKey, value: &RowValue) {
        let is_totals = key.path == Path::Thread as u8;
        let key = RowKey {
            tid: value.tgid,
            // The totals of threads that ended stay apart from those of the first thread, which may still
            // live: no thread starts at the complement of a time.
            thread_start_ns: if is_totals { !value.process_start_ns } else { value.process_start_ns },
            ..self.known_key(&key)
        };
        add_row(self.rows.entry(key).or_insert_with(|| RowValue::of_process(value)), value);
        self.process((value.tgid, value.process_start_ns));
    }

    /// Takes in what was reported on the sends of a row.
    pub fn reported(&mut self, key: &RowKey, reported: Reported) {
        // A row that was lost is counted as that.
        if let Some(sum) = self.rows.get_mut(&self.known_key(key)) {
            sum.copied += reported.copied;
            sum.by_reference += reported.by_reference;
        }
    }

    /// Takes in what was seen of the bytes of a row when they left.
    pub fn seen(&mut self, key: &RowKey, seen: &Seen) {
        self.seen.entry(self.known_key(key)).or_default().add(seen);
    }

    /// All rows.
    pub fn into_rows(self) -> Vec<Row> {
        let Self { rows, seen, .. } = self;
        let row = |(key, value)| Row { key, value, seen: seen.get(&key).copied().unwrap_or_default() };
        rows.into_iter().map(row).collect()
    }

    /// What is known up to now, to add to it what is still in the kernel's maps.
    pub(super) fn at_hand(&self) -> Self {
        let Self { rows, seen, objects, processes, forgotten_up_to, malformed } = self;
        Self {
            rows: rows.clone(),
            seen: seen.clone(),
            objects: objects.clone(),
            processes: processes.clone(),
            forgotten_up_to: *forgotten_up_to,
            malformed: *malformed,
        }
    }

    /// Forgets processes and what they did.
    pub fn forget(&mut self, processes: &HashSet<ProcessKey>) {
        self.rows.retain(|_, value| !processes.contains(&(value.tgid, value.process_start_ns)));
        self.seen.retain(|key, _| !processes.contains(&(key.tid, key.thread_start_ns)));
        self.processes.retain(|key, _| !processes.contains(key));
    }

    /// Takes in a process that ran before it was traced; what it has done since may have been taken in before.
    pub fn attached(&mut self, sample: ProcessSample) {
        let process = self.process((sample.pid, sample.start_ns));
        process.sample =
            ProcessSample { exit_code: process.sample.exit_code, alive: process.sample.alive, ..sample };
        process.attached = true;
    }

    /// Whether a process ran before it was traced.
    pub fn is_attached(&self, key: &ProcessKey) -> bool {
        self.processes.get(key).is_some_and(|process| process.attached)
    }

    /// Processes that have not ended, as far as is known.
    pub fn alive(&self) -> impl Iterator<Item = &ProcessKey> {
        self.processes.iter().filter(|(_, process)| process.sample.alive).map(|(key, _)| key)
    }

    /// Processes that have ended, as far as is known.
    pub fn ended(&self) -> impl Iterator<Item = &ProcessKey> {
        self.processes.iter().filter(|(_, process)| !process.sample.alive).map(|(key, _)| key)
    }

    /// Whether a process is known and has not ended.
    pub fn is_alive(&self, key: &ProcessKey) -> bool {
        self.processes.get(key).is_some_and(|process| process.sample.alive)
    }

    /// Notes that a process is gone although its end was not seen.
    pub fn gone(&mut self, key: &ProcessKey) {
        if let Some(process) = self.processes.get_mut(key) {
            process.sample.alive = false;
        }
    }

    fn process(&mut self, key: ProcessKey) -> &mut Tracked {
        self.processes.entry(key).or_insert_with(|| Tracked {
            sample: ProcessSample { pid: key.0, start_ns: key.1, alive: true, ..ProcessSample::default() },
            ..Tracked::default()
        })
    }

    fn known(&mut self, record: &ProcessRecord) -> &mut Tracked {
        let process = self.process((record.tgid, record.start_ns));
        process.sample.comm = until_nul(&record.comm);
        // At its end a process may have another parent, or none.
        process.sample.ppid = process.sample.ppid.or((record.ppid != 0).then_some(record.ppid));
        process.cgroup_id = record.cgroup_id;
        process
    }

    fn fork(&mut self, record: &ProcessRecord) {
        // A child is the same program as its parent until it execs.
        let parent = self.processes.values().filter(|process| process.sample.pid == record.ppid);
        let program = parent
            .max_by_key(|process| process.sample.start_ns)
            .map(|parent| (parent.exe, parent.sample.exe.clone(), parent.sample.cmdline.clone()));
        let child = self.known(record);
        if let Some((exe, name, cmdline)) = program {
            child.exe = exe;
            child.sample.exe = name;
            child.sample.cmdline = cmdline;
        }
    }

    fn exec(&mut self, record: &ExecRecord) {
        let process = self.known(&record.process);
        process.exe = record.exe;
        process.sample.exe = None;
        process.sample.cmdline = arguments(record);
    }

    fn exit(&mut self, record: &ProcessRecord) {
        let process = self.known(record);
        process.sample.alive = false;
        process.sample.exit_code = Some(exit_code(record.exit_code));
    }
}

/// Adds a row to another one.
pub(super) fn add_row(sum: &mut RowValue, value: &RowValue) {
    sum.flags |= value.flags;
    sum.bytes += value.bytes;
    sum.copied += value.copied;
    sum.by_reference += value.by_reference;
    sum.transfers += value.transfers;
    sum.own.add(&value.own);
    sum.taken.add(&value.taken);
}

/// The exit code that a shell would show, from the encoding of wait(2).
fn exit_code(status: u32) -> i32 {
    let signal = status & 0x7F;
    let code = if signal == 0 { (status >> 8) & 0xFF } else { 128 + signal };
    i32::try_from(code).unwrap_or(i32::MAX)
}

pub(super) fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The command line; cut where the record was too small for it.
fn arguments(record: &ExecRecord) -> Vec<String> {
    let len = usize::try_from(record.args_len).unwrap_or(usize::MAX);
    split_arguments(&record.args[..len.min(ARGS_BYTES)], len)
}

/// A command line of `len` bytes, from what was kept of it: arguments ended by NUL.
pub(super) fn split_arguments(kept: &[u8], len: usize) -> Vec<String> {
    let is_cut = len > kept.len();
    let kept = kept.strip_suffix(&[0]).unwrap_or(kept);
    let mut arguments: Vec<String> = if kept.is_empty() {
        Vec::new()
    } else {
        kept.split(|&byte| byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
    };
    if is_cut && let Some(last) = arguments.last_mut() {
        last.push('…');
    }
    arguments
}

#[cfg(test)]
mod tests;
