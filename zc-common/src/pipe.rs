//! What is in a pipe and where it came from, so that bytes spliced into it and out of it are one transfer.
//!
//! A pipe that holds spliced bytes has a [`Fifo`] of [`Segment`]s. A call that puts bytes in pushes one, a call that
//! takes bytes out takes them from the front. Calls are seen when they end, and not everyone who uses a pipe is
//! seen, so each call's end is held against what the kernel says is in the pipe then ([`View`]): how many bytes, and
//! which of its slots (`struct pipe_inode_info`: `head` and `tail` only ever count up, and bytes that were spliced
//! share no slot with others). Where the two do not agree the bytes are of unknown source until the pipe has been
//! empty: never is one said to come from where it did not.
//!
//! In a process of several threads a call that took bytes out may be seen before the one that put them in. Such
//! bytes wait in a second queue, and are joined when the other call is seen.

mod queue;
mod set;
mod under_way;

pub use self::{
    queue::Queue,
    set::{PIPES, PipeSet},
    under_way::{INTO, OUT_OF, UnderWay},
};
use crate::{assert_layout, object::ObjectKey, pair::Source};

/// Segments that one pipe may hold.
pub const SEGMENTS: usize = 16;
/// Calls that may have taken bytes before these were seen coming.
pub const EARLY: usize = 4;

/// Bytes of one source; or, among those that were taken early, of one destination.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The end that is not the pipe, and what the calls that moved the bytes had cost.
    pub source: Source,
    /// Of which process those calls were.
    pub process: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The pipe's object id in the row that these bytes are counted in.
    pub pipe: u32,
    /// One past the last slot that they are in.
    pub end: u32,
    /// The [`crate::path::Path`] of that row; 0 when no other row may take them from there.
    pub path: u8,
    /// `SHARES_SLOT`, `FORMER`.
    pub flags: u8,
    /// Always zero.
    pub reserved: [u8; 6],
}

/// They may be in the slot of the bytes before them, as what write(2) puts into a pipe.
pub const SHARES_SLOT: u8 = 1;
/// They were in the pipe before anything was known of it; `end` means nothing.
pub const FORMER: u8 = 2;

impl Segment {
    /// Nothing.
    pub const NONE: Self = Self {
        source: Source::NONE,
        process: 0,
        bytes: 0,
        pipe: 0,
        end: 0,
        path: 0,
        flags: 0,
        reserved: [0; 6],
    };

    /// Whether a row may take these bytes.
    #[inline(always)]
    pub const fn joins(&self) -> bool {
        self.path != 0
    }

    /// Whether bytes of `other` can be told apart from these, and have to.
    #[inline(always)]
    const fn is_like(&self, other: &Self) -> bool {
        self.path == other.path
            && self.process == other.process
            && self.pipe == other.pipe
            && self.flags == other.flags
            && self.source.is_same_end(&other.source)
    }
}

/// What the kernel has of a pipe at the end of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Bytes in the pipe.
    pub content: u64,
    /// Those in slot `since` and later ones.
    pub fresh: u64,
    /// The first slot that is in use.
    pub tail: u32,
    /// One past the last.
    pub head: u32,
    /// [`Fifo::head`], to ask for `fresh`.
    pub since: u32,
    /// 1 when other threads of the process may be between the end of a call and the moment at which it is seen.
    pub races: u32,
    /// 1 when requests are under way that may move bytes at any time ([`Fifo::is_busy`]).
    pub busy: u32,
    /// Always zero.
    pub reserved: u32,
}

/// What a pipe holds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fifo {
    /// The pipe; nothing of anyone when its inode is 0.
    pub key: ObjectKey,
    /// When it was used last.
    pub stamp: u32,
    /// Not zero while it is not known what the pipe holds.
    pub blind: u32,
    /// The process whose bytes are among those, when they could have been joined.
    pub missed: u64,
    /// One past the last slot that was in use when the pipe was looked at last.
    pub head: u32,
    /// Always zero.
    pub reserved: u32,
    /// What was put in and not taken out.
    pub waiting: Queue<SEGMENTS>,
    /// What was taken out before it was seen coming.
    pub early: Queue<EARLY>,
    /// Requests in rings: those that put bytes in, and those that take bytes out.
    pub under_way: [UnderWay; 2],
}

impl Fifo {
    /// Whether nothing has to be remembered of the pipe.
    #[inline(always)]
    pub const fn is_idle(&self) -> bool {
        !self.is_wanted() && self.early.is_empty() && self.blind == 0
    }

    /// Whether forgetting the pipe loses something.
    #[inline(always)]
    pub const fn is_wanted(&self) -> bool {
        self.waiting.joining != 0 || self.has_requests()
    }

    /// Gives up until the pipe is known to hold nothing else than what is seen.
    #[inline(always)]
    fn lose(&mut self, process: u64, view: &View) {
        self.missed = process;
        self.waiting.clear();
        self.early.clear();
        self.blind = u32::from(view.content != 0 || view.busy != 0);
    }

    /// Gives up, as the kernel's view is not to be had or says nothing. Says whether bytes of `process` were among what was known.
    #[inline(always)]
    pub fn give_up(&mut self, process: u64) -> bool {
        let missed = self.waiting.has_of(process) || self.blind != 0 && self.missed == process;
        self.lose(process, &View { content: 1, ..View::default() });
        missed
    }

    /// Before [`Self::push`] of `bytes` that a call has put in: how many of them were taken out already, and are to be
    /// taken from `early`.
    #[inline(always)]
    pub const fn taken_early(&mut self, bytes: u64, view: &View) -> u64 {
        if view.content < bytes && self.early.bytes <= bytes - view.content {
            return self.early.bytes;
        }
        // They are all there, or more were taken than they are: whoever took early took something else.
        self.early.clear();
        0
    }

    /// Remembers what a call has put in, less what [`Self::taken_early`].
    #[inline(always)]
    pub fn push(&mut self, segment: &Segment, view: &View) {
        if self.blind != 0 {
            if view.content != segment.bytes || view.busy != 0 {
                self.missed = if segment.joins() { segment.process } else { self.missed };
                return;
            }
            self.blind = 0;
        }
        self.missed = 0;
        self.head = view.head;
        let before = self.waiting.bytes;
        let total = before + segment.bytes;
        // What was put there by nobody that is seen.
        let own_slots = segment.flags & SHARES_SLOT == 0;
        let strange = view.fresh > segment.bytes || own_slots && view.fresh != segment.bytes;
        if before != 0 && view.races == 0 && strange {
            self.lose(segment.process, view);
            return;
        }
        if view.content > total && before == 0 {
            let former = Segment { bytes: view.content - total, flags: FORMER, ..Segment::NONE };
            self.waiting.append(&former);
        } else if view.content > total
            || view.content < total && (view.races == 0 || self.waiting.has_former())
        {
            self.lose(segment.process, view);
            return;
        }
        if segment.bytes != 0 && !self.waiting.append(segment) {
            self.lose(segment.process, view);
        }
    }

    /// Before taking `bytes` that a call of `process` has taken out: whether what is known of the pipe agrees with what
    /// the kernel says after that call. When it does not, nothing is known any more.
    #[inline(always)]
    pub fn check_take(&mut self, bytes: u64, process: u64, view: &View) -> Step {
        if self.blind != 0 {
            self.blind = u32::from(view.content != 0 || view.busy != 0);
            return Step::Unknown { missed: self.missed == process };
        }
        let known = if self.waiting.bytes < bytes { self.waiting.bytes } else { bytes };
        let left = self.waiting.bytes - known;
        // Of a pipe that holds nothing known there is nothing to get wrong.
        let exact = known == 0 || known == bytes && view.content == left && view.head == self.head;
        let near = view.races != 0 && view.content >= left;
        if (exact || near) && self.waiting.slots_agree(known, bytes, view) {
            return Step::Follows;
        }
        let missed = self.waiting.has_of(process);
        self.lose(if missed { process } else { 0 }, view);
        Step::Unknown { missed }
    }
}

/// What came of looking at what a call took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is known.
    Follows,
    /// It is not known, and the process had put bytes there that may be among it, if `missed`.
    Unknown {
        /// Whether it may have.
        missed: bool,
    },
}

assert_layout!(Segment, 72, [Source, u64, u64, u32, u32, u8, u8, [u8; 6]]);
assert_layout!(View, 40, [u64, u64, [u32; 6]]);
assert_layout!(
    Fifo,
    128 + 72 * (SEGMENTS + EARLY),
    [ObjectKey, u32, u32, u64, u32, u32, Queue<SEGMENTS>, Queue<EARLY>, [UnderWay; 2]]
);

#[cfg(test)]
mod tests;
