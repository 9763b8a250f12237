//! What a fixture says it did: the truth that a report is compared with.
//!
//! A fixture's worker does its calls, reads its own `/proc/self/io` as its last data call and leaves; its
//! parent turns the plan and that snapshot into an [`Expectation`], so the two can contradict each other.

use serde::{Deserialize, Serialize};

/// The kind of one end of a transfer, as the report names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file, on any file system.
    File,
    /// A TCP socket.
    Tcp,
    /// A UDP socket.
    Udp,
    /// A Unix socket of any type.
    Unix,
    /// A pipe or a named pipe.
    Pipe,
    /// A terminal, either side of it.
    Tty,
    /// Any other character or block device.
    Device,
    /// The process's own memory.
    Memory,
    /// A descriptor that is none of these: event, timer, signal…
    Other,
    /// No such descriptor.
    Unknown,
}

/// Bytes and calls of one path between one pair of kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The report's name of the path.
    pub path: String,
    /// `syscall` or `io_uring`.
    pub via: String,
    /// Where the bytes came from.
    pub source: Kind,
    /// Where they went.
    pub destination: Kind,
    /// Results of the calls, summed.
    pub bytes: u64,
    /// Calls, failed and empty ones included.
    pub syscalls: u64,
    /// Calls that moved bytes; `None` where the contract leaves it open.
    pub transfers: Option<u64>,
    /// Minor faults within the calls, where the worker measured them.
    pub minor: Option<u64>,
    /// Voluntary switches within the calls, where the worker measured them.
    pub voluntary: Option<u64>,
    /// Bytes that the kernel counts in `rchar`.
    pub rchar: u64,
    /// Bytes that the kernel counts in `wchar`.
    pub wchar: u64,
    /// What must be said of the copies, where the general rules do not say it.
    pub said: Said,
}

impl Row {
    fn key(&self) -> (&str, &str, Kind, Kind) {
        (&self.via, &self.path, self.source, self.destination)
    }
}

/// What a row must say of its bytes; `None` is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// `cpu_copied_bytes`.
    pub copied: Option<u64>,
    /// `by_reference_bytes`.
    pub by_reference: Option<u64>,
    /// `unknown_bytes`.
    pub unknown: Option<u64>,
    /// `device_read_bytes`.
    pub device_read: Option<u64>,
    /// `verdict`.
    pub verdict: Option<String>,
    /// `evidence`.
    pub evidence: Option<String>,
    /// `reason`.
    pub reason: Option<String>,
}

/// Bytes between two named ends; an end without a name is not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The report's name of the path.
    pub path: String,
    /// File path, or `address:port` of the peer.
    pub source: Option<String>,
    /// File path, or `address:port` of the peer.
    pub destination: Option<String>,
    /// Results of the calls, summed.
    pub bytes: u64,
}

/// Pages of one file that a process has in its memory, or has written to there.
///
/// Every program maps files, its own and libraries; only those that a fixture names are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    /// Path of the file.
    pub file: String,
    /// The pages were made writable: from memory to the file.
    pub written: bool,
    /// Bytes of whole pages.
    pub bytes: u64,
    /// Pages that were copied on write.
    pub copied_pages: u64,
    /// Calls that mapped the file, moved the mapping or took it away.
    pub calls: u64,
    /// Page faults, with storage I/O or without.
    pub faults: Option<u64>,
    /// Page faults with storage I/O.
    pub major: Option<u64>,
    /// Page faults taken within calls, which are no mode switches of their own.
    pub faults_in_calls: u64,
    /// Bytes that storage had to deliver for the faults.
    pub device_read: Option<u64>,
}

/// Everything that one process did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Expectation {
    /// Process id, as the process saw it.
    pub pid: u32,
    /// The kernel's count of bytes read, at the end of the last data call.
    pub rchar: u64,
    /// The kernel's count of bytes written.
    pub wchar: u64,
    /// The kernel's count of bytes that storage delivered, where the process looked at it.
    pub read_bytes: Option<u64>,
    /// The kernel's count of read calls.
    pub syscr: u64,
    /// The kernel's count of write calls.
    pub syscw: u64,
    /// Minor faults just before the end.
    pub minor: u64,
    /// Major faults just before the end.
    pub major: u64,
    /// Voluntary context switches just before the end.
    pub voluntary: u64,
    /// Involuntary context switches just before the end.
    pub involuntary: u64,
    /// Threads that lived beside the first one.
    pub threads: u64,
    /// System calls that are in no row, those that the fixture knows of.
    pub other_calls: u64,
    /// The process ran `execve`: the loader's reads and the kernel's own reads of the program are in
    /// `rchar` but not in `rows`, which are lower bounds then; `flows` stay exact.
    pub execs: bool,
    /// What the rows of the report must be, all of them.
    pub rows: Vec<Row>,
    /// Flows that must be in the report.
    pub flows: Vec<Flow>,
    /// Files that were mapped.
    pub mapped: Vec<Mapped>,
    /// Further processes of the same fixture.
    pub others: Vec<Expectation>,
}

impl Expectation {
    /// This process and all others of the fixture.
    pub fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        for other in &self.others {
            all.extend(other.all());
        }
        all
    }

    /// Adds children that this process has waited for, and takes their calls off its own counts: the kernel
    /// adds the I/O of a child to its parent's when the parent reaps it.
    pub fn adopt_reaped(&mut self, children: impl IntoIterator<Item = Self>) {
        for child in children {
            self.rchar -= child.rchar;
            self.wchar -= child.wchar;
            self.syscr -= child.syscr;
            self.syscw -= child.syscw;
            self.read_bytes = self.read_bytes.map(|bytes| bytes - child.read_bytes.unwrap_or(0));
            self.others.push(child);
        }
    }

    /// The one row of system calls with this path and these kinds.
    pub fn row(&self, path: &str, source: Kind, destination: Kind) -> Option<&Row> {
        self.row_via("syscall", path, source, destination)
    }

    /// The one row with this path and these kinds, of system calls or of requests in a ring.
    pub fn row_via(&self, via: &str, path: &str, source: Kind, destination: Kind) -> Option<&Row> {
        self.rows.iter().find(|row| row.key() == (via, path, source, destination))
    }

    /// Bytes that the kernel counts as read.
    pub fn bytes_read(&self) -> u64 {
        self.rows.iter().map(|row| row.rchar).sum()
    }

    /// Bytes that the kernel counts as written.
    pub fn bytes_written(&self) -> u64 {
        self.rows.iter().map(|row| row.wchar).sum()
    }

    /// Data calls of all rows.
    pub fn data_calls(&self) -> u64 {
        self.rows.iter().map(|row| row.syscalls).sum()
    }
}

/// The plan of one process, added up as a fixture describes it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    rows: Vec<Row>,
    flows: Vec<Flow>,
    mapped: Vec<Mapped>,
    threads: u64,
    other_calls: u64,
    execs: bool,
}

impl Ledger {
    /// An empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds calls to a row of which the kernel counts all bytes in `rchar` and `wchar`, as far as they go in and
    /// out; `transfers` of `None` makes the row's transfers unchecked.
    pub fn row(
        &mut self,
        path: &str,
        ends: (Kind, Kind),
        bytes: u64,
        syscalls: u64,
        transfers: impl Into<Option<u64>>,
    ) -> &mut Self {
        let (rchar, wchar) = match path {
            "read" => (bytes, 0),
            "write" | "mmap+write" => (0, bytes),
            _ => (bytes, bytes),
        };
        self.moved("syscall", path, ends, (bytes, rchar, wchar), syscalls, transfers)
    }

    /// Adds to any row: bytes, and what of them the kernel counts in `rchar` and in `wchar`.
    pub fn moved(
        &mut self,
        via: &str,
        path: &str,
        (source, destination): (Kind, Kind),
        (bytes, rchar, wchar): (u64, u64, u64),
        syscalls: u64,
        transfers: impl Into<Option<u64>>,
    ) -> &mut Self {
        let transfers = transfers.into();
        let row = self.at(via, path, source, destination);
        row.bytes += bytes;
        row.rchar += rchar;
        row.wchar += wchar;
        row.syscalls += syscalls;
        row.transfers = row.transfers.zip(transfers).map(|(a, b)| a + b);
        self
    }

    /// Bytes that a call of the splice family handed on: the kernel counts them as neither read nor written.
    pub fn spliced(
        &mut self,
        path: &str,
        ends: (Kind, Kind),
        bytes: u64,
        syscalls: u64,
        transfers: impl Into<Option<u64>>,
    ) -> &mut Self {
        self.moved("syscall", path, ends, (bytes, 0, 0), syscalls, transfers)
    }

    /// What a row must say of its copies.
    pub fn said(&mut self, via: &str, path: &str, ends: (Kind, Kind), said: Said) -> &mut Self {
        self.at(via, path, ends.0, ends.1).said = said;
        self
    }

    /// `calls` reads that moved bytes into memory and found no partner.
    pub fn reads(&mut self, source: Kind, bytes: u64, calls: u64) -> &mut Self {
        self.row("read", (source, Kind::Memory), bytes, calls, calls)
    }

    /// `calls` reads that failed, met the end or asked for nothing.
    pub fn empty_reads(&mut self, source: Kind, calls: u64) -> &mut Self {
        self.row("read", (source, Kind::Memory), 0, calls, 0)
    }

    /// `calls` writes from memory that found no partner.
    pub fn writes(&mut self, destination: Kind, bytes: u64, calls: u64) -> &mut Self {
        self.row("write", (Kind::Memory, destination), bytes, calls, calls)
    }

    /// `calls` writes that failed or had nothing to write.
    pub fn empty_writes(&mut self, destination: Kind, calls: u64) -> &mut Self {
        self.row("write", (Kind::Memory, destination), 0, calls, 0)
    }

    /// `calls` calls of the recv family, or `process_vm_readv`: like reads, but the kernel does not count their bytes.
    pub fn received(&mut self, source: Kind, bytes: u64, calls: u64) -> &mut Self {
        self.moved("syscall", "read", (source, Kind::Memory), (bytes, 0, 0), calls, calls)
    }

    /// `calls` calls of the send family, or `process_vm_writev`, as above.
    pub fn sent(&mut self, destination: Kind, bytes: u64, calls: u64) -> &mut Self {
        self.moved("syscall", "write", (Kind::Memory, destination), (bytes, 0, 0), calls, calls)
    }

    /// Bytes that were written from where they had been read, by `reads` reads and `writes` writes.
    pub fn relayed(&mut self, ends: (Kind, Kind), bytes: u64, reads: u64, writes: u64) -> &mut Self {
        self.row("read+write", ends, bytes, reads + writes, writes)
    }

    /// Measured costs that fell within a row's calls.
    pub fn costs(
        &mut self,
        path: &str,
        ends: (Kind, Kind),
        minor: Option<u64>,
        voluntary: Option<u64>,
    ) -> &mut Self {
        let row = self.at("syscall", path, ends.0, ends.1);
        row.minor = minor;
        row.voluntary = voluntary;
        self
    }

    /// A flow with the ends that have a name.
    pub fn flow(
        &mut self,
        path: &str,
        source: Option<&str>,
        destination: Option<&str>,
        bytes: u64,
    ) -> &mut Self {
        self.flows.push(Flow {
            path: path.into(),
            source: source.map(Into::into),
            destination: destination.map(Into::into),
            bytes,
        });
        self
    }

    /// A file that was mapped.
    pub fn mapped(&mut self, mapped: Mapped) -> &mut Self {
        self.mapped.push(mapped);
        self
    }

    /// Threads beside the first one.
    pub fn threads(&mut self, threads: u64) -> &mut Self {
        self.threads = threads;
        self
    }

    /// Calls that move no bytes that zc follows.
    pub fn other_calls(&mut self, calls: u64) -> &mut Self {
        self.other_calls += calls;
        self
    }

    /// The process replaced its program.
    pub fn execs(&mut self) -> &mut Self {
        self.execs = true;
        self
    }

    /// The plan as an expectation, still without the kernel's counts.
    pub fn into_expectation(self) -> Expectation {
        let Self { rows, flows, mapped, threads, other_calls, execs } = self;
        Expectation { threads, other_calls, execs, rows, flows, mapped, ..Expectation::default() }
    }

    fn at(&mut self, via: &str, path: &str, source: Kind, destination: Kind) -> &mut Row {
        let found = self.rows.iter().position(|row| row.key() == (via, path, source, destination));
        let index = found.unwrap_or_else(|| {
            self.rows.push(Row {
                path: path.into(),
                via: via.into(),
                source,
                destination,
                bytes: 0,
                syscalls: 0,
                transfers: Some(0),
                minor: None,
                voluntary: None,
                rchar: 0,
                wchar: 0,
                said: Said::default(),
            });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }
}

#[cfg(test)]
mod tests;
