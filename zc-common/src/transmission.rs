//! What the memory was that devices read the bytes of TCP sockets from, and which calls those were of.
//!
//! The bytes of a connection are numbered (`tcp_sock.write_seq`, the sequence number in the header of each segment). A
//! call that has ended tells which row the last bytes of the connection are of; a buffer that is given to a device
//! (`net_dev_start_xmit`) tells what memory its bytes are in. Either may come first: most buffers leave within the call that filled
//! them, and what a full window has held back leaves long after. So each side keeps what it knows in a ring of its own, in the
//! order of the numbers, and what both know is counted.
//!
//! Calls and devices do not wait for each other, as a transmission may interrupt the program that counts a call: each ring has
//! one writer and one reader at a time, and who has just added to one tries to be that reader.

#![expect(clippy::cast_possible_truncation, reason = "sizes of rings are small")]

mod stream;

use crate::{assert_layout, pod, row::RowKey};

/// Hash of `struct sock` → [`Stream`].
pub const STREAMS: &str = "STREAMS";
/// How many connections are followed at a time.
pub const STREAMS_MAX: u32 = 32_768;
/// Hash of `struct sock`: connections that are left out.
pub const LEFT_OUT: &str = "LEFT_OUT";
/// Hash of [`RowKey`] → [`Witnessed`].
pub const WITNESSED: &str = "WITNESSED";

/// What memory the bytes were in when a device was given them. The numbers are part of the map format.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// They were not seen.
    Unseen = 0,
    /// A page of the page cache: that of a file.
    PageCache = 1,
    /// An anonymous page: that of a program.
    User = 2,
    /// A page of the kernel, into which the send has copied.
    Private = 3,
    /// A page of the kernel that was handed to the socket (`SKBFL_SHARED_FRAG`).
    Handed = 4,
    /// The linear part of a buffer, on a device without scatter-gather.
    Flattened = 5,
    /// The linear part of a buffer, on another device.
    Linear = 6,
    /// Not known: of a device that does more with it, or in memory of another sort.
    Elsewhere = 7,
}

impl Class {
    /// Every class, in the order of its numbers.
    pub const ALL: [Self; 8] = [
        Self::Unseen,
        Self::PageCache,
        Self::User,
        Self::Private,
        Self::Handed,
        Self::Flattened,
        Self::Linear,
        Self::Elsewhere,
    ];
}

/// Beside a [`Class`]: packets of the device were being captured.
pub const TAPPED: u32 = 8;
/// Beside a [`Class`]: the driver copied what the device was given ([`crate::bounce::WHOLLY`]).
pub const BOUNCED: u32 = 16;
/// The bits of a [`Class`].
const CLASS_MASK: u32 = 7;

/// What was seen of the bytes of a row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witnessed {
    /// Bytes by [`Class`].
    pub bytes: [u64; 8],
    /// Of these: bytes on a device whose packets were being captured.
    pub tapped: u64,
    /// Bytes that a second device was given flattened, which the first one was not, or that may have bounced: which of the
    /// above they are is not known.
    pub doubtful: u64,
    /// Bytes by [`Class`] that were copied once more by a driver.
    pub bounced: [u64; 8],
}

/// How often the bytes of a connection that were not seen to leave may change from one row to another; a power of two.
pub const CALLS: usize = 128;
/// How often they may change from one sort of memory to another before their calls have ended; a power of two.
pub const LOG: usize = 128;
/// In how many rows they may be; a power of two.
pub const ROWS: usize = 8;

/// After so many calls that leave others' bytes between them, it is not waited any longer for whose those are.
const PATIENCE: u32 = 64;

/// Bytes up to a number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The number of the first byte that is not of them.
    pub end: u32,
    /// Index of the row that they are of; [`NO_ROW`] when that is not known.
    pub row: u32,
}

/// In place of the index of a row.
pub const NO_ROW: u32 = ROWS as u32;

/// Bytes up to a number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// The number of the first byte that is not of them.
    pub end: u32,
    /// A [`Class`], [`TAPPED`] and [`BOUNCED`].
    pub class: u32,
}

/// A connection that a traced process sends on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Locks of the three who change something: calls, transmissions, and who counts.
    pub call_lock: u64,
    /// As above.
    pub log_lock: u64,
    /// As above.
    pub match_lock: u64,
    /// The device that the last new byte was given to.
    pub device: u64,
    /// 1 when what that device is given is what leaves.
    pub device_is_plain: u32,
    /// Bytes before this are claimed, or given up.
    pub base: u32,
    /// Not zero when there was a call.
    pub has_calls: u32,
    /// Bytes of calls that ended since, of which it is not known where they are.
    pub claimed: u32,
    /// How many calls that is; 0 when there is none.
    pub open: u32,
    /// Not zero when these have several rows.
    pub several: u32,
    /// Else this is their row.
    pub open_row: RowKey,
    /// Next to be written in `calls`.
    pub call_head: u32,
    /// Next to be read.
    pub call_tail: u32,
    /// Next to be written in `log`.
    pub log_head: u32,
    /// Next to be read.
    pub log_tail: u32,
    /// Where the log begins.
    pub log_start: u32,
    /// Where it ends: numbers before were seen.
    pub log_end: u32,
    /// Numbers before are counted.
    pub matched: u32,
    /// Bytes of [`Witnessed::doubtful`] that are in no row yet.
    pub doubtful: u32,
    /// Rows that calls are of.
    pub rows: [RowKey; ROWS],
    /// Up to which numbers.
    pub row_ends: [u32; ROWS],
    /// What calls have sent.
    pub calls: [Call; CALLS],
    /// What devices were given.
    pub log: [Logged; LOG],
}

/// What is to be done about the bytes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Its parts follow each other from here on: each is to be pushed.
    Parts {
        /// The number of the first byte.
        start: u32,
    },
    /// All that is open is of the row `open_row`, which is to be pushed.
    Row,
    /// Whose the bytes are will not be known: none is to be pushed.
    Unknown,
    /// The same, as bytes from before anything was known were still to be sent.
    Former,
    /// It is waited for others.
    Open,
    /// There was no room; it is waited for others.
    Full,
}

/// What a process may have done on a connection before it was traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: it is traced from its beginning.
    Nothing,
    /// It has sent, and its threads may have been about to. So may any other process that has the connection, too.
    Calls {
        /// Something was seen to leave within a call, before the first has ended: where that begins, nothing else has been since.
        seen_leaving: bool,
    },
}

/// Some bytes to be counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The row that they are of.
    pub row: RowKey,
    /// How many.
    pub bytes: u32,
    /// As in [`Logged`].
    pub class: u32,
    /// Of these.
    pub doubtful: u32,
    /// Always zero.
    pub reserved: u32,
}

/// How many rows the bytes of a call are followed in; a power of two.
pub const PARTS: usize = 16;

/// The bytes of a call, by rows, in the order in which it sent them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Where they ended up.
    pub part: [Part; PARTS],
}

/// Bytes of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The row that they are in, by process.
    pub row: RowKey,
    /// How many.
    pub bytes: u64,
}

assert_layout!(Witnessed, 144, [[u64; 8], u64, u64, [u64; 8]]);
assert_layout!(Call, 8, [u32, u32]);
assert_layout!(Logged, 8, [u32, u32]);
assert_layout!(
    Stream,
    120 + 36 * ROWS + 8 * CALLS + 8 * LOG,
    [[u64; 4], [u32; 6], RowKey, [u32; 8], [RowKey; ROWS], [u32; ROWS], [Call; CALLS], [Logged; LOG]]
);
assert_layout!(Share, 48, [RowKey, [u32; 4]]);
assert_layout!(Part, 40, [RowKey, u64]);
pod!(Witnessed, Call, Logged, Stream);

/// The index of a class in [`Witnessed::bytes`].
#[inline(always)]
pub const fn class_index(class: u32) -> usize {
    (class & CLASS_MASK) as usize
}

#[cfg(test)]
mod tests;
