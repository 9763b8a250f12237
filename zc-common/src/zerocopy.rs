//! Sends with `MSG_ZEROCOPY`, and what the kernel reports on them.
//!
//! The kernel numbers such sends for each socket (`sk_zckey`), and reports on a range of numbers when it does not use
//! the memory any more (`__msg_zerocopy_callback`). Sends that share a `struct ubuf_info_msgzc` are reported
//! together, by one report and with one answer. Reports wait in the error queue of the socket; one that follows on the
//! last that waits there is joined to it, and its own answer is lost to the program: the joined one has that of its
//! first.

use crate::{assert_layout, pod, row::RowKey};

/// Hash of [`SendKey`] → [`Send`]: sends on which the kernel has not reported.
pub const SENDS: &str = "SENDS";
/// Hash of [`RowKey`] → [`Reported`].
pub const REPORTED: &str = "REPORTED";

/// Names the part of a send that is in one row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SendKey {
    /// `struct sock`
    pub sock: u64,
    /// The inode number of the socket, as another one may come to the same address.
    pub number: u64,
    /// Which of the socket's sends.
    pub id: u32,
    /// Which of its parts.
    pub part: u32,
}

/// The part of a send that is in one row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Send {
    /// The row, by process: its thread may have ended when the report comes.
    pub row: RowKey,
    /// How many bytes.
    pub bytes: u64,
    /// The first send that shares a report with this one; its own id when that is not known.
    pub first: u32,
    /// How many parts there are.
    pub parts: u32,
}

/// What was reported of the sends of a row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Bytes of sends that the kernel says it copied.
    pub copied: u64,
    /// Bytes of sends that it says it did not copy.
    pub by_reference: u64,
}

/// A report: the sends `first` to `last`, which wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first send.
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// 1 when something of what they sent was copied, else 0; [`UNKNOWN`] when this is no report on such sends.
    pub copied: u64,
}

impl Report {
    /// From the `struct sock_extended_err` of an error queue.
    #[inline(always)]
    pub const fn of(head: u64, range: u64) -> Self {
        // include/uapi/linux/errqueue.h
        const SO_EE_ORIGIN_ZEROCOPY: u64 = 5;
        const SO_EE_CODE_ZEROCOPY_COPIED: u64 = 1;
        // `ee_errno`, `ee_origin`, `ee_type`, `ee_code`, `ee_pad`; `ee_info`, `ee_data`.
        let is_report = head & 0xFF_FFFF_FFFF == SO_EE_ORIGIN_ZEROCOPY << 32;
        let copied = if is_report { head >> 48 & SO_EE_CODE_ZEROCOPY_COPIED } else { UNKNOWN };
        Self { first: (range & 0xFFFF_FFFF) as u32, last: (range >> 32) as u32, copied }
    }

    /// How many sends it is about, less one.
    #[inline(always)]
    pub const fn more(&self) -> u32 {
        self.last.wrapping_sub(self.first)
    }

    /// Whether this is what was joined last to the report that waits in the queue.
    #[inline(always)]
    pub const fn is_end_of(&self, waiting: &Self) -> bool {
        let before = self.first.wrapping_sub(waiting.first);
        self.last == waiting.last && before != 0 && before <= waiting.more()
    }
}

/// Whether both addresses can be of memory that the kernel maps as a whole, in which it has its sockets and buffers. Where that
/// begins depends on how many levels page tables have, and on chance (`kernel_randomize_memory`). What lies further off is code,
/// or may be registers of a device, which must not be read.
#[inline(always)]
pub const fn is_near(word: u64, sock: u64) -> bool {
    // Few machines have more memory, and space for 10 TiB is left behind it.
    const SPAN: u64 = 8 << 40;
    word.wrapping_sub(sock).wrapping_add(SPAN) < 2 * SPAN
}

/// In place of the number of a send, or of an answer. An option would leave half of it undefined, and the verifier not look at the
/// other half only.
pub const UNKNOWN: u64 = u64::MAX;

/// What is known of a socket's sends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The inode number of the socket.
    pub number: u64,
    /// When the thread started that sent last.
    pub thread_start_ns: u64,
    /// That thread; 0 for none.
    pub tid: u32,
    /// How many sends the socket had when its last call ended.
    pub counter: u32,
    /// The first send of the report that was last seen to wait in the queue.
    pub waiting: u32,
    /// Not zero when there was one.
    pub has_waiting: u32,
}

impl Sender {
    /// The number of the first of `sends` sends that a call has made, after which the socket has had `counter`.
    ///
    /// Nothing tells what the counter was when the call began. It is what it was at the end of the thread's last call on
    /// this socket, if it has moved by as much as the call has sent; if other threads have sent as well, it has
    /// moved by more. [`UNKNOWN`] when it is not sure.
    #[inline(always)]
    pub const fn first_of(&self, (tid, start_ns): (u32, u64), counter: u32, sends: u32) -> u64 {
        if counter == sends {
            // The very first.
            return 0;
        }
        let same = self.tid == tid && self.thread_start_ns == start_ns;
        let first = counter.wrapping_sub(sends);
        if same && self.counter == first { first as u64 } else { UNKNOWN }
    }
}

assert_layout!(SendKey, 24, [u64, u64, u32, u32]);
assert_layout!(Send, 48, [RowKey, u64, u32, u32]);
assert_layout!(Reported, 16, [u64, u64]);
assert_layout!(Sender, 32, [u64, u64, [u32; 4]]);
pod!(SendKey, Send, Reported, Sender);

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct sock_extended_err` of a report.
    fn error(errno: u32, origin: u8, code: u8, first: u32, last: u32) -> [u64; 2] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&errno.to_le_bytes());
        (bytes[4], bytes[6]) = (origin, code);
        bytes[8..12].copy_from_slice(&first.to_le_bytes());
        bytes[12..].copy_from_slice(&last.to_le_bytes());
        [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")))
    }

    #[test]
    fn buffers_are_near_their_socket_and_registers_of_devices_are_not() {
        // Page tables of four levels and of five.
        for (sock, registers) in
            [(0xFFFF_8881_0123_4580, 0xFFFF_C900_0000_1000), (0xFF11_0001_0123_4580, 0xFFA0_0000_0000_1000)]
        {
            assert!(is_near(sock + (4 << 40), sock) && is_near(sock - (1 << 20), sock));
            for word in [registers, 0xFFFF_FFFF_8178_6390, 0x7FFC_1234_5678, 0] {
                assert!(!is_near(word, sock), "{word:#x}");
            }
        }
    }

    #[test]
    fn only_reports_on_zerocopy_sends_are_read() {
        let of = |[head, range]: [u64; 2]| Report::of(head, range);
        let report = Report { first: 3, last: 7, copied: 1 };
        assert_eq!(of(error(0, 5, 1, 3, 7)), report);
        assert_eq!(of(error(0, 5, 0, 3, 7)), Report { copied: 0, ..report });
        // ICMP, a time stamp, an error.
        for (errno, origin) in [(111, 2), (42, 4), (5, 5), (0, 0)] {
            assert_eq!(of(error(errno, origin, 1, 3, 7)).copied, UNKNOWN, "{origin}");
        }
    }

    #[test]
    fn what_was_joined_last_ends_with_what_waits_and_begins_later() {
        let report = |first, last| Report { first, last, copied: 0 };
        let waiting = report(u32::MAX - 1, 5);
        assert_eq!(waiting.more(), 7);
        for (first, last, is_end) in [
            (5, 5, true),
            (u32::MAX, 5, true),
            (u32::MAX - 1, 5, false),
            (3, 4, false),
            (u32::MAX - 9, 5, false),
            (6, 5, false),
        ] {
            assert_eq!(report(first, last).is_end_of(&waiting), is_end, "{first} to {last}");
        }
    }

    #[test]
    fn a_send_has_a_number_when_nobody_else_can_have_sent() {
        let me = (7, 1000);
        let sender = Sender { tid: 7, thread_start_ns: 1000, counter: 5, ..Sender::default() };
        assert_eq!(sender.first_of(me, 6, 1), 5);
        assert_eq!(sender.first_of(me, 9, 4), 5);
        assert_eq!(sender.first_of(me, 7, 1), UNKNOWN, "another thread has sent, too");
        assert_eq!(sender.first_of(me, 5, 1), UNKNOWN, "nothing was sent");
        assert_eq!(sender.first_of((8, 1000), 6, 1), UNKNOWN, "another thread was the last");
        assert_eq!(sender.first_of((7, 1001), 6, 1), UNKNOWN, "one with the same id");
        assert_eq!(Sender::default().first_of(me, 1, 1), 0);
        assert_eq!(Sender::default().first_of(me, 3, 3), 0);
        assert_eq!(Sender::default().first_of(me, 3, 1), UNKNOWN, "it has sent before it was looked at");
        let sender = Sender { counter: u32::MAX, ..sender };
        assert_eq!(sender.first_of(me, 1, 2), u64::from(u32::MAX));
    }
}
