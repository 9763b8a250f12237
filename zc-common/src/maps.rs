//! Names and sizes of maps, in one place for both sides.

/// Array of 64-bit words, a bit for each process id: who is traced.
pub const TRACED: &str = "TRACED";
/// Hash of thread id → [`crate::thread::Thread`].
pub const THREADS: &str = "THREADS";
/// Hash of [`crate::row::RowKey`] → [`crate::row::RowValue`].
pub const ROWS: &str = "ROWS";
/// Hash of [`crate::object::ObjectKey`] → [`crate::object::ObjectValue`].
pub const OBJECTS: &str = "OBJECTS";
/// Hash of process id → its threads and flows.
pub const PROCESSES: &str = "PROCESSES";
/// Array of [`crate::pair::Set`].
pub const PAIRS: &str = "PAIRS";
/// Ring buffer of [`crate::record`].
pub const EVENTS: &str = "EVENTS";
/// Array of one [`crate::session::Session`].
pub const SESSION: &str = "SESSION";
/// Array of one number: how often user space has asked threads to hand over their rows.
pub const EPOCH: &str = "EPOCH";
/// Per-CPU array of counters, indexed by [`crate::loss::Loss`].
pub const LOST: &str = "LOST";

/// One past the largest process id of 64-bit Linux (`PID_MAX_LIMIT`).
pub const PID_LIMIT: u32 = 1 << 22;
/// Default size of `THREADS`.
pub const THREADS_DEFAULT: u32 = 32_768;
/// Default size of `ROWS`.
pub const ROWS_DEFAULT: u32 = 65_536;
/// Default size of `OBJECTS`.
pub const OBJECTS_DEFAULT: u32 = 16_384;
/// Default number of sets in `PAIRS`; a power of two.
pub const PAIR_SETS_DEFAULT: u32 = 4_096;
/// Number of [`crate::pipe::PipeSet`]s; a power of two.
pub const PIPE_SETS: u32 = 128;
/// Default size of `EVENTS`; a power of two, and of pages.
pub const RING_BYTES_DEFAULT: u32 = 8 << 20;
/// How many mappings of files are remembered by where they begin.
pub const AREAS_MAX: u32 = 16_384;
/// Default number of named flows of a process.
pub const FLOWS_DEFAULT: u32 = 1_024;
