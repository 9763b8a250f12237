//! Requests in rings (`io_uring`) that move bytes into a pipe or out of it, from their submission to their completion.
//!
//! Workers do them, several at a time, and each is seen when its completion is posted. So that completions come in
//! the order in which bytes were moved is only known of requests of one chain (`IOSQE_IO_LINK`), of which each
//! begins when the one before it is over, and where there is one at a time.

use super::{FORMER, Fifo, Segment, View};
use crate::assert_layout;

/// Index of those that put bytes into the pipe, in [`Fifo::under_way`].
pub const INTO: usize = 0;
/// Index of those that take bytes out of it.
pub const OUT_OF: usize = 1;

/// The requests that are under way on one side of a pipe.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Which chain they are of.
    chain: u64,
    /// How many there are.
    alive: u32,
    /// Not zero when they are of several chains, or when something else has moved bytes meanwhile.
    is_mixed: u32,
}

impl UnderWay {
    /// None.
    pub const NONE: Self = Self { chain: 0, alive: 0, is_mixed: 0 };

    /// A request of `chain` was submitted.
    #[inline(always)]
    pub const fn begin(&mut self, chain: u64) {
        if self.alive == 0 {
            self.chain = chain;
            self.is_mixed = 0;
        } else if self.chain != chain {
            self.is_mixed = 1;
        }
        self.alive += 1;
    }

    /// A request has ended. Says whether it is known when it moved its bytes, of all that moved some on this side.
    #[inline(always)]
    pub const fn end(&mut self) -> bool {
        let is_known = self.alive != 0 && self.is_mixed == 0;
        self.alive = self.alive.saturating_sub(1);
        is_known
    }

    /// Something else has moved bytes. Says whether it is known when, as above.
    #[inline(always)]
    pub const fn disturb(&mut self) -> bool {
        self.is_mixed = 1;
        self.alive == 0
    }

    /// Whether requests are under way that are not later ones of `chain`.
    #[inline(always)]
    const fn has_others(&self, chain: u64) -> bool {
        self.alive != 0 && (self.is_mixed != 0 || self.chain != chain)
    }
}

impl Fifo {
    /// Whether a request of this pipe is under way.
    #[inline(always)]
    pub const fn has_requests(&self) -> bool {
        self.under_way[INTO].alive != 0 || self.under_way[OUT_OF].alive != 0
    }

    /// Whether one is that is not a later one of `chain`, which is 0 of calls.
    #[inline(always)]
    pub const fn is_busy(&self, chain: u64) -> bool {
        self.under_way[INTO].has_others(chain) || self.under_way[OUT_OF].has_others(chain)
    }

    /// Begins with what the pipe holds already.
    #[inline(always)]
    pub fn begin_with(&mut self, view: &View) {
        self.head = view.head;
        if view.content != 0 {
            let former = Segment { bytes: view.content, flags: FORMER, ..Segment::NONE };
            self.waiting.append(&former);
        }
    }
}

assert_layout!(UnderWay, 16, [u64, u32, u32]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_one_chain_have_an_order() {
        let mut requests = UnderWay::NONE;
        requests.begin(7);
        requests.begin(7);
        assert!(!requests.has_others(7) && requests.has_others(8) && requests.has_others(0));
        assert!(requests.end() && requests.end());
        assert!(!requests.has_others(0));
    }

    #[test]
    fn requests_of_two_chains_have_none_until_all_have_ended() {
        let mut requests = UnderWay::NONE;
        requests.begin(7);
        requests.begin(8);
        assert!(!requests.end() && requests.has_others(8));
        requests.begin(8);
        assert!(!requests.end() && !requests.end());
        requests.begin(8);
        assert!(requests.end());
    }

    #[test]
    fn a_call_beside_a_request_has_no_order_and_takes_that_of_the_request() {
        let mut requests = UnderWay::NONE;
        assert!(requests.disturb());
        requests.begin(7);
        assert!(!requests.disturb());
        assert!(!requests.end());
        assert!(requests.disturb());
    }

    #[test]
    fn the_end_of_a_request_that_nothing_is_known_of_has_no_order() {
        let mut requests = UnderWay::NONE;
        assert!(!requests.end());
        requests.begin(7);
        assert!(requests.end());
    }

    #[test]
    fn a_pipe_with_requests_is_not_forgotten_and_stays_unknown_while_others_are_under_way() {
        let mut fifo = Fifo::default();
        fifo.under_way[OUT_OF].begin(7);
        assert!(fifo.has_requests() && !fifo.is_idle() && fifo.is_wanted());
        fifo.give_up(3);
        let busy = View { busy: u32::from(fifo.is_busy(0)), ..View::default() };
        fifo.check_take(5, 3, &busy);
        assert_eq!(fifo.blind, 1, "a request may still take or put something");
        assert!(fifo.under_way[OUT_OF].end());
        fifo.check_take(5, 3, &View::default());
        assert!(fifo.is_idle());
    }

    #[test]
    fn what_a_pipe_holds_when_a_request_is_submitted_keeps_its_place() {
        let mut fifo = Fifo::default();
        fifo.begin_with(&View { content: 11, head: 1, ..View::default() });
        let mut part = Segment::NONE;
        assert!(fifo.waiting.take(20, &mut part));
        assert!(part.bytes == 11 && !part.joins());
    }
}
