//! What is done with a [`Stream`], by each of the three who may.

use super::{Before, CALLS, Call, Claim, Class, LOG, Logged, NO_ROW, PARTS, PATIENCE, ROWS, Share, Stream};
use crate::row::RowKey;

/// Whether number `a` comes before `b`, in numbers that wrap around.
#[inline(always)]
const fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) >> 31 != 0
}

/// Reads what another program may write meanwhile.
macro_rules! load {
    ($stream:ident . $($field:tt)+) => {
        // SAFETY: the caller's.
        unsafe { (&raw const (*$stream).$($field)+).read_volatile() }
    };
}

/// Writes what another program may read meanwhile.
macro_rules! store {
    ($stream:ident . $field:ident, $value:expr) => {
        // SAFETY: the caller's.
        unsafe { (&raw mut (*$stream).$field).write_volatile($value) }
    };
}

impl Stream {
    /// What a connection begins with.
    pub const NONE: Self = Self {
        call_lock: 0,
        log_lock: 0,
        match_lock: 0,
        device: 0,
        device_is_plain: 0,
        base: 0,
        has_calls: 0,
        claimed: 0,
        open: 0,
        several: 0,
        open_row: RowKey::NONE,
        call_head: 0,
        call_tail: 0,
        log_head: 0,
        log_tail: 0,
        log_start: 0,
        log_end: 0,
        matched: 0,
        doubtful: 0,
        rows: [RowKey::NONE; ROWS],
        row_ends: [0; ROWS],
        calls: [Call { end: 0, row: 0 }; CALLS],
        log: [Logged { end: 0, class: 0 }; LOG],
    };

    /// Begins at `number`: nothing before it is known, or will be.
    ///
    /// # Safety
    /// `this` is a stream that nobody else has.
    #[inline(always)]
    pub unsafe fn begin(this: *mut Self, number: u32) {
        store!(this.base, number);
        store!(this.log_start, number);
        store!(this.log_end, number);
        store!(this.matched, number);
    }

    /// A call has ended that has sent `bytes` bytes in `count` parts, the first of which is of `row`, and the connection has had
    /// bytes up to `end`. They were the last if nobody else has sent meanwhile, and if others have, it will be known when all of
    /// them have told. What is said has to be done next.
    ///
    /// `before` says what the process may have done before it was traced: what it had sent by then may be seen to leave, and nobody will tell
    /// of it.
    ///
    /// # Safety
    /// `this` is a stream whose `call_lock` the caller has.
    #[inline(always)]
    pub unsafe fn claim(
        this: *mut Self,
        row: &RowKey,
        count: u32,
        bytes: u32,
        end: u32,
        before: Before,
    ) -> Claim {
        if load!(this.has_calls) == 0 {
            store!(this.has_calls, 1);
            let start = end.wrapping_sub(bytes);
            let base = load!(this.base);
            let is_known = match before {
                Before::Nothing => true,
                Before::Calls { seen_leaving } => seen_leaving && start == base,
            };
            if !is_known {
                // Who has not told may never do so, or may be among those who have sent meanwhile. All that comes is known.
                store!(this.base, end);
                return Claim::Former;
            }
            // Else something that was seen to leave is of somebody who has not told.
            if is_before(start, base) {
                store!(this.base, start);
                store!(this.matched, start);
            }
        }
        let base = load!(this.base);
        let claimed = load!(this.claimed).wrapping_add(bytes);
        let open = load!(this.open);
        let all = end.wrapping_sub(base);
        let room = CALLS as u32 - load!(this.call_head).wrapping_sub(load!(this.call_tail));
        if all == claimed && open == 0 && count <= PARTS as u32 && count <= room {
            store!(this.base, end);
            return Claim::Parts { start: base };
        }
        if open == 0 {
            store!(this.open_row, *row);
            store!(this.several, u32::from(count != 1));
        } else if count != 1 || !is_same(&load!(this.open_row), row) {
            store!(this.several, 1);
        }
        store!(this.claimed, claimed);
        store!(this.open, open + 1);
        if all != claimed && open < PATIENCE {
            return Claim::Open;
        }
        if room == 0 {
            // It stays open.
            store!(this.several, 1);
            return Claim::Full;
        }
        store!(this.base, end);
        store!(this.claimed, 0);
        store!(this.open, 0);
        // Whose byte is which is not known, and does not matter when all are of one row.
        if all == claimed && load!(this.several) == 0 { Claim::Row } else { Claim::Unknown }
    }

    /// The index of a row, of which there will be bytes up to `end`.
    #[inline(always)]
    fn index_of(this: *mut Self, row: &RowKey, end: u32) -> u32 {
        let matched = load!(this.matched);
        let mut free = ROWS;
        let mut index = 0;
        while index < ROWS {
            if is_same(&load!(this.rows[index]), row) {
                free = index;
                break;
            }
            // Nothing of it is left to be counted.
            if load!(this.rows[index].path) == 0 || !is_before(matched, load!(this.row_ends[index])) {
                free = index;
            }
            index += 1;
        }
        if free >= ROWS || row.path == 0 {
            return NO_ROW;
        }
        // SAFETY: the caller's.
        unsafe {
            (&raw mut (*this).rows[free & (ROWS - 1)]).write_volatile(*row);
            (&raw mut (*this).row_ends[free & (ROWS - 1)]).write_volatile(end);
        }
        free as u32
    }

    /// Bytes up to `end` are of `row`, or of none. False when there was no room for the row. There has to be room for the bytes.
    ///
    /// # Safety
    /// As of [`Self::claim`].
    #[inline(always)]
    pub unsafe fn push_call(this: *mut Self, row: &RowKey, end: u32) -> bool {
        let index = Self::index_of(this, row, end);
        let head = load!(this.call_head);
        let last = head.wrapping_sub(1) as usize & (CALLS - 1);
        // The last one is never given up, as it may grow.
        if head != load!(this.call_tail) && load!(this.calls[last].row) == index {
            // SAFETY: the caller's.
            unsafe { (&raw mut (*this).calls[last].end).write_volatile(end) };
        } else {
            let new = Call { end, row: index };
            // SAFETY: the caller's.
            unsafe { (&raw mut (*this).calls[head as usize & (CALLS - 1)]).write_volatile(new) };
            store!(this.call_head, head.wrapping_add(1));
        }
        index != NO_ROW
    }

    /// A device was given bytes `start` to `end`, which is not before it. False when there was no room.
    ///
    /// What was given to a device before, and is given to it again, does not count again.
    ///
    /// # Safety
    /// `this` is a stream whose `log_lock` the caller has.
    #[inline(always)]
    pub unsafe fn log(this: *mut Self, start: u32, end: u32, class: u32) -> bool {
        let known = load!(this.log_end);
        if !is_before(known, end) {
            return true;
        }
        if is_before(known, start) && !Self::push_log(this, start, Class::Unseen as u32) {
            return false;
        }
        Self::push_log(this, end, class)
    }

    #[inline(always)]
    fn push_log(this: *mut Self, end: u32, class: u32) -> bool {
        let head = load!(this.log_head);
        let tail = load!(this.log_tail);
        let last = head.wrapping_sub(1) as usize & (LOG - 1);
        if head != tail && load!(this.log[last].class) == class {
            // SAFETY: the caller's.
            unsafe { (&raw mut (*this).log[last].end).write_volatile(end) };
        } else if head.wrapping_sub(tail) >= LOG as u32 {
            return false;
        } else {
            let new = Logged { end, class };
            // SAFETY: the caller's.
            unsafe { (&raw mut (*this).log[head as usize & (LOG - 1)]).write_volatile(new) };
            store!(this.log_head, head.wrapping_add(1));
        }
        store!(this.log_end, end);
        true
    }

    /// Whether there is something that both sides know.
    ///
    /// # Safety
    /// `this` is a stream.
    #[inline(always)]
    pub unsafe fn has_match(this: *const Self) -> bool {
        let (head, tail) = (load!(this.call_head), load!(this.call_tail));
        let matched = load!(this.matched);
        let last = head.wrapping_sub(1) as usize & (CALLS - 1);
        head != tail
            && is_before(matched, load!(this.calls[last].end))
            && is_before(matched, load!(this.log_end))
    }

    /// Whether bytes of calls were not seen to leave.
    pub const fn is_waiting(&self) -> bool {
        let last = self.call_head.wrapping_sub(1) as usize & (CALLS - 1);
        self.call_head != self.call_tail && is_before(self.matched, self.calls[last].end)
    }

    /// Goes on by one step; false when there is nothing more that both sides know. `share` has no bytes when there is nothing to
    /// be counted in this step.
    ///
    /// # Safety
    /// `this` is a stream whose `match_lock` the caller has.
    #[inline(always)]
    pub unsafe fn step(this: *mut Self, share: &mut Share) -> bool {
        share.bytes = 0;
        let (head, tail) = (load!(this.call_head), load!(this.call_tail));
        if head == tail {
            return false;
        }
        let index = tail as usize & (CALLS - 1);
        let call_end = load!(this.calls[index].end);
        let matched = load!(this.matched);
        if !is_before(matched, call_end) {
            if tail.wrapping_add(1) == head {
                return false;
            }
            store!(this.call_tail, tail.wrapping_add(1));
            return true;
        }
        let log_start = load!(this.log_start);
        let mut end = call_end;
        let mut class = Class::Unseen as u32;
        if is_before(matched, log_start) {
            end = if is_before(log_start, end) { log_start } else { end };
        } else {
            let (head, tail) = (load!(this.log_head), load!(this.log_tail));
            if head == tail {
                return false;
            }
            let logged = tail as usize & (LOG - 1);
            let log_end = load!(this.log[logged].end);
            if !is_before(matched, log_end) {
                if tail.wrapping_add(1) == head {
                    return false;
                }
                store!(this.log_tail, tail.wrapping_add(1));
                return true;
            }
            end = if is_before(log_end, end) { log_end } else { end };
            class = load!(this.log[logged].class);
        }
        let row = load!(this.calls[index].row) as usize;
        share.row = if row < ROWS { load!(this.rows[row & (ROWS - 1)]) } else { RowKey::NONE };
        share.bytes = end.wrapping_sub(matched);
        share.class = class;
        share.doubtful = load!(this.doubtful);
        if share.doubtful != 0 {
            store!(this.doubtful, 0);
        }
        store!(this.matched, end);
        true
    }
}

/// Without a branch for each member, of which the verifier would follow both ways.
#[inline(always)]
fn is_same(a: &RowKey, b: &RowKey) -> bool {
    let what =
        |row: &RowKey| u32::from_ne_bytes([row.path, row.source_kind, row.destination_kind, row.flags]);
    let names = (a.tid ^ b.tid) | (a.source ^ b.source) | (a.destination ^ b.destination);
    let rest = (a.through ^ b.through) | (what(a) ^ what(b));
    (a.thread_start_ns ^ b.thread_start_ns) | u64::from(names | rest) == 0
}
