//! What a row of the lab is. The rows themselves are in [`super::table`].
//!
//! Numbers are those of one transfer. Copies are per byte: 2 is every byte twice.

use serde::Serialize;

pub use super::table::ROWS;

/// Bytes of a transfer of the rows that move a file: what a pipe holds, so that splice needs no second round.
pub const CHUNK: usize = 64 << 10;
/// The same as payload.
pub const CHUNK_BYTES: u64 = CHUNK as u64;
/// Bytes of a page on x86-64.
pub const PAGE: usize = 4096;
/// The same as payload.
pub const PAGE_BYTES: u64 = PAGE as u64;
/// Bytes of a record of the appends, as in the text.
pub const RECORD: usize = 60;
/// The same as payload.
pub const RECORD_BYTES: u64 = RECORD as u64;

/// Where an expectation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The textbook's table.
    Textbook,
    /// The cases that the textbook tells beside it.
    Further,
    /// What calls promise that the textbook did not have.
    Beyond,
}

/// What is expected of one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// This much.
    Exactly(f64),
    /// This much, and two more for each page fault.
    AndTwoPerFault(f64),
    /// More than this.
    MoreThan(f64),
    /// One of these: what it is depends on the file system.
    Either(f64, f64),
}

/// What is expected of a transfer; what the textbook does not say is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Numbers {
    /// System calls.
    pub system_calls: Option<Expected>,
    /// Crossings between user and kernel mode.
    pub mode_switches: Option<Expected>,
    /// Copies of each byte by the processor.
    pub cpu_copies: Option<Expected>,
    /// Copies of each byte from storage to memory, of a cold cache.
    pub device_reads: Option<Expected>,
    /// Copies of each byte from memory to a network card.
    pub device_sends: Option<Expected>,
    /// Page faults.
    pub faults: Option<Expected>,
}

/// One transfer of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// [`CHUNK_BYTES`].
    Chunk,
    /// [`PAGE_BYTES`].
    Page,
    /// [`RECORD_BYTES`].
    Record,
    /// Something that moves no payload: a call, a fault, a mapping.
    Event,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the rows say it")]
pub enum Work {
    ReadWrite,
    MmapWrite,
    Sendfile,
    SendfileWithoutSg,
    Splice,
    MmapRead,
    AppendByWrite,
    AppendByMapping,
    MapOnly,
    TouchAnonymous,
    TouchCached,
    TouchUncached,
    CopyOnWrite,
    ReadPage(u64),
    ShareMapping,
    Getppid,
    Spin,
    Tee,
    Vmsplice,
    CopyFileRange,
    SendZerocopy,
    RingRead,
    RingSend,
    DirectRead,
}

/// The page cache before a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Holds nothing of the file.
    Cold,
    /// Holds all of the file.
    Warm,
    /// As the case before left it, or of no interest.
    Asis,
}

/// One way to run a row.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name within the row.
    pub name: &'static str,
    /// What is done.
    pub work: Work,
    /// The page cache before it.
    pub cache: Cache,
    /// What is expected of this case in place of what is expected of the row.
    pub expected: Option<Numbers>,
}

/// A row of the lab.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its number; 1 to 7 are the textbook's.
    pub number: u8,
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// Who says what is expected.
    pub origin: Origin,
    /// One transfer.
    pub unit: Unit,
    /// The path that zc should name; `None` when no payload moves between files and sockets.
    pub path: Option<&'static str>,
    /// What is expected of a transfer.
    pub expected: Numbers,
    /// The ways to run it.
    pub cases: &'static [Case],
}

/// The row of a number or name.
pub fn find(text: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == text || row.number.to_string() == text)
}

impl Case {
    /// What is expected of it, of a row.
    pub fn expected(&self, row: &Row) -> Numbers {
        let numbers = self.expected.unwrap_or(row.expected);
        // What is in the cache is not read from storage: of a warm cache the textbook's own rule says none.
        let warm = self.cache == Cache::Warm && numbers.device_reads.is_some();
        Numbers {
            device_reads: if warm { Some(Expected::Exactly(0.0)) } else { numbers.device_reads },
            ..numbers
        }
    }
}

impl Expected {
    /// The number, when a transfer took so many faults.
    #[must_use]
    pub fn with_faults(self, faults: f64) -> Self {
        match self {
            Self::AndTwoPerFault(base) => Self::Exactly(2.0f64.mul_add(faults, base)),
            other => other,
        }
    }
}

impl Unit {
    /// Bytes of one, as far as it has any.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Chunk => CHUNK_BYTES,
            Self::Page => PAGE_BYTES,
            Self::Record => RECORD_BYTES,
            Self::Event => 0,
        }
    }
}
