//! What is known of pipes against a plain model: a pipe in which every byte says where it came from.

#![expect(clippy::cast_possible_truncation, reason = "all numbers here are small")]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const PAGE: u64 = 10;
/// What write(2) and those who are not traced put into a pipe.
const MEMORY: u32 = 0;
const STRANGER: u32 = 999;

/// The kernel's pipe: slots of bytes, each with its source.
#[derive(Default)]
struct Pipe {
    slots: VecDeque<(VecDeque<u32>, bool)>,
    tail: u32,
}

impl Pipe {
    fn put(&mut self, source: u32, bytes: u64, merges: bool) {
        for _ in 0..bytes {
            let room = |slot: &(VecDeque<u32>, bool)| slot.1 && merges && (slot.0.len() as u64) < PAGE;
            if !self.slots.back().is_some_and(room) {
                self.slots.push_back((VecDeque::new(), merges));
            }
            self.slots.back_mut().unwrap().0.push_back(source);
        }
    }

    /// Like a splice: in slots of its own.
    fn splice(&mut self, source: u32, bytes: u64) {
        for start in (0..bytes).step_by(PAGE as usize) {
            self.slots.push_back((VecDeque::new(), true));
            self.put(source, PAGE.min(bytes - start), true);
            self.slots.back_mut().unwrap().1 = false;
        }
    }

    fn take(&mut self, bytes: u64) -> Vec<u32> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < bytes {
            let Some((slot, _)) = self.slots.front_mut() else { break };
            taken.extend(slot.pop_front());
            if slot.is_empty() {
                self.slots.pop_front();
                self.tail = self.tail.wrapping_add(1);
            }
        }
        taken
    }

    fn view(&self, zc: &Zc, races: u32) -> View {
        let since = zc.fifo.head;
        let bytes = |from: u32| -> u64 {
            let slots = self.slots.iter().enumerate();
            let from =
                |&(index, _): &(usize, _)| self.tail.wrapping_add(index as u32).wrapping_sub(from) < 1 << 31;
            slots.filter(from).map(|(_, (slot, _))| slot.len() as u64).sum()
        };
        let head = self.tail.wrapping_add(self.slots.len() as u32);
        View {
            content: bytes(self.tail),
            fresh: bytes(since),
            tail: self.tail,
            head,
            since,
            races,
            ..View::default()
        }
    }
}

fn spliced(source: u32, process: u64, bytes: u64) -> Segment {
    let source = Source { object: source, kind: 1, calls: 1, ..Source::NONE };
    Segment { source, process, bytes, pipe: 7, path: 9, ..Segment::NONE }
}

fn written(bytes: u64) -> Segment {
    Segment { bytes, flags: SHARES_SLOT, ..Segment::NONE }
}

/// The kernel side's use of a FIFO.
#[derive(Default)]
struct Zc {
    fifo: Fifo,
    /// What was joined late: for each call that took bytes, the sources of the first of those that were not joined then.
    late: VecDeque<Vec<u32>>,
    joined: u64,
    calls: u64,
    missed: u64,
}

impl Zc {
    /// A call that put bytes in has ended.
    fn put(&mut self, mut segment: Segment, view: &View) {
        if !segment.joins() && self.fifo.is_idle() {
            return;
        }
        segment.end = view.head;
        let mut gone = self.fifo.taken_early(segment.bytes, view);
        let mut part = Segment::NONE;
        while self.fifo.early.take(gone, &mut part) {
            gone -= part.bytes;
            segment.bytes -= part.bytes;
            if segment.joins() && segment.process == part.process {
                self.join(segment.source.object, part.bytes, segment.source.calls);
                segment.source = segment.source.without_costs();
                self.attribute(segment.source.object, part.bytes);
            } else {
                self.attribute(STRANGER, part.bytes);
            }
        }
        if self.fifo.early.is_empty() {
            self.late.clear();
        }
        self.fifo.push(&segment, view);
        self.forget();
    }

    /// Bytes that were taken early are now known to be of `source`, where that is not [`STRANGER`].
    fn attribute(&mut self, source: u32, bytes: u64) {
        for _ in 0..bytes {
            while self.late.front().is_some_and(Vec::is_empty) {
                self.late.pop_front();
            }
            let truth = self.late.front_mut().expect("bytes that were taken early").remove(0);
            assert!(source == STRANGER || truth == source, "joined {source}, was {truth}");
        }
    }

    /// A call that took `truth` out has ended. Says how many bytes are joined.
    fn take(&mut self, process: u64, truth: &[u32], joins: bool, view: &View) {
        let bytes = truth.len() as u64;
        let may_be_early = view.races != 0 && joins;
        if self.fifo.is_idle() && !may_be_early {
            return;
        }
        let mut left = bytes;
        match self.fifo.check_take(bytes, process, view) {
            Step::Unknown { missed } => {
                self.missed += u64::from(missed);
                self.forget();
                return;
            }
            Step::Follows => {}
        }
        let mut part = Segment::NONE;
        while self.fifo.waiting.take(left, &mut part) {
            if joins && part.joins() && part.process == process {
                let from = (bytes - left) as usize;
                for &truth in &truth[from..from + part.bytes as usize] {
                    assert_eq!(truth, part.source.object, "joined with the wrong source");
                }
                self.join(part.source.object, part.bytes, part.source.calls);
            }
            left -= part.bytes;
        }
        if may_be_early && left != 0 && self.fifo.blind == 0 {
            if self.fifo.early.append(&spliced(1, process, left)) {
                self.late.push_back(truth[(bytes - left) as usize..].to_vec());
            } else {
                self.fifo.early.clear();
                self.late.clear();
            }
        }
        self.forget();
    }

    fn join(&mut self, source: u32, bytes: u64, calls: u32) {
        assert!(source != MEMORY && source != STRANGER && bytes > 0);
        self.joined += bytes;
        self.calls += u64::from(calls);
    }

    fn forget(&mut self) {
        if self.fifo.is_idle() {
            self.fifo.waiting.clear();
        }
    }
}

/// Something that happens to a pipe.
#[derive(Clone, Debug)]
enum Deed {
    Splice { source: u32, process: u64, bytes: u64 },
    Write { bytes: u64 },
    SpliceOut { process: u64, bytes: u64 },
    Read { bytes: u64 },
    StrangerPuts { bytes: u64 },
    StrangerTakes { bytes: u64 },
}

fn deeds(strangers: bool) -> impl Strategy<Value = Vec<Deed>> {
    let bytes = 1..35_u64;
    let deed = (0..if strangers { 10 } else { 8 }, 1..4_u32, 1..3_u64, bytes).prop_map(
        |(which, source, process, bytes)| match which {
            0..=2 => Deed::Splice { source, process, bytes },
            3 => Deed::Write { bytes },
            4..=6 => Deed::SpliceOut { process, bytes },
            7 => Deed::Read { bytes },
            8 => Deed::StrangerPuts { bytes },
            _ => Deed::StrangerTakes { bytes },
        },
    );
    prop::collection::vec(deed, 1..60)
}

/// Does it, and says how many bytes should have been joined and how many segments were waiting at most.
fn run(deeds: &[Deed]) -> (Zc, u64) {
    let (mut pipe, mut zc) = (Pipe::default(), Zc { ..Zc::default() });
    pipe.tail = u32::MAX - 20;
    let mut owners: VecDeque<u64> = VecDeque::new();
    let mut should = 0;
    for deed in deeds {
        match *deed {
            Deed::Splice { source, process, bytes } => {
                pipe.splice(source, bytes);
                owners.extend((0..bytes).map(|_| process));
                {
                    let view = pipe.view(&zc, 0);
                    zc.put(spliced(source, process, bytes), &view);
                };
            }
            Deed::Write { bytes } => {
                pipe.put(MEMORY, bytes, true);
                owners.extend((0..bytes).map(|_| 0));
                {
                    let view = pipe.view(&zc, 0);
                    zc.put(written(bytes), &view);
                };
            }
            Deed::SpliceOut { process, bytes } => {
                let truth = pipe.take(bytes);
                should += owners.drain(..truth.len()).filter(|&owner| owner == process).count() as u64;
                {
                    let view = pipe.view(&zc, 0);
                    zc.take(process, &truth, true, &view);
                };
            }
            Deed::Read { bytes } => {
                let truth = pipe.take(bytes);
                owners.drain(..truth.len());
                {
                    let view = pipe.view(&zc, 0);
                    zc.take(0, &truth, false, &view);
                };
            }
            Deed::StrangerPuts { bytes } => {
                pipe.splice(STRANGER, bytes);
                owners.extend((0..bytes).map(|_| 0));
            }
            Deed::StrangerTakes { bytes } => {
                let taken = pipe.take(bytes);
                owners.drain(..taken.len());
            }
        }
    }
    (zc, should)
}

proptest! {
    #[test]
    fn what_is_all_seen_is_all_joined_with_its_source(deeds in deeds(false)) {
        let (zc, should) = run(&deeds);
        // Only a pipe of more segments than are remembered is given up.
        if zc.missed == 0 && zc.fifo.blind == 0 && zc.fifo.missed == 0 {
            prop_assert_eq!(zc.joined, should);
        } else {
            prop_assert!(deeds.len() > SEGMENTS);
        }
        let splices = deeds.iter().filter(|deed| matches!(deed, Deed::Splice { .. })).count();
        prop_assert!(zc.calls <= splices as u64);
    }

    #[test]
    fn strangers_never_make_bytes_come_from_where_they_did_not(deeds in deeds(true)) {
        // Asserted byte by byte as they are joined.
        let (zc, should) = run(&deeds);
        prop_assert!(zc.joined <= should);
    }

    /// A thread that fills a pipe and one that empties it; either may be seen later than the other, but each sees its own
    /// calls in order.
    #[test]
    fn two_threads_join_whichever_is_seen_first(
        steps in prop::collection::vec((0..4_u8, 1..4_u32, 1..35_u64), 1..120)
    ) {
        let (mut pipe, mut zc) = (Pipe::default(), Zc::default());
        let (mut put, mut took): (Option<Segment>, Option<Vec<u32>>) = (None, None);
        let (mut in_pipe, mut taken) = (0, 0);
        let mut steps = steps;
        // At the end all is taken and seen.
        steps.extend([(2, 1, 1), (3, 1, 1), (1, 1, 100_000), (3, 1, 1)]);
        for (what, source, bytes) in steps {
            match what {
                0 if put.is_none() && in_pipe + bytes <= 100 => {
                    pipe.splice(source, bytes);
                    in_pipe += bytes;
                    put = Some(spliced(source, 1, bytes));
                }
                1 if took.is_none() => {
                    let truth = pipe.take(bytes);
                    in_pipe -= truth.len() as u64;
                    taken += truth.len() as u64;
                    took = (!truth.is_empty()).then_some(truth);
                }
                2 => if let Some(segment) = put.take() {
                    { let view = pipe.view(&zc, 1); zc.put(segment, &view) };
                },
                3 => if let Some(truth) = took.take() {
                    { let view = pipe.view(&zc, 1); zc.take(1, &truth, true, &view) };
                },
                _ => {}
            }
        }
        prop_assert_eq!((zc.joined, zc.missed), (taken, 0));
    }
}

#[test]
fn costs_go_with_the_first_bytes_that_are_taken() {
    let mut fifo = Fifo::default();
    let view = View { content: 30, fresh: 30, tail: 0, head: 3, ..View::default() };
    fifo.push(&Segment { end: 3, ..spliced(1, 1, 30) }, &view);
    assert_eq!(fifo.check_take(11, 1, &View { content: 19, tail: 1, ..view }), Step::Follows);
    let mut part = Segment::NONE;
    assert!(fifo.waiting.take(11, &mut part));
    assert_eq!((part.bytes, part.source.calls), (11, 1));
    assert!(fifo.waiting.take(50, &mut part));
    assert_eq!((part.bytes, part.source.calls), (19, 0));
    assert!(!fifo.waiting.take(1, &mut part) && fifo.is_idle());
}

#[test]
fn bytes_that_were_there_before_are_of_no_known_source() {
    let mut fifo = Fifo::default();
    let view = View { content: 47, tail: 0, head: 4, ..View::default() };
    fifo.push(&Segment { end: 4, ..spliced(1, 1, 30) }, &view);
    let mut part = Segment::NONE;
    assert_eq!(fifo.check_take(18, 1, &View { content: 29, tail: 1, ..view }), Step::Follows);
    assert!(fifo.waiting.take(18, &mut part) && !part.joins() && part.bytes == 17);
    assert!(fifo.waiting.take(1, &mut part) && part.joins() && part.bytes == 1);
}

#[test]
fn a_stranger_who_takes_and_puts_as_much_is_noticed() {
    let mut fifo = Fifo::default();
    let view = View { content: 10, tail: 5, head: 6, ..View::default() };
    fifo.push(&Segment { end: 6, ..spliced(1, 1, 10) }, &view);
    let after = View { content: 0, tail: 7, head: 7, ..view };
    assert_eq!(fifo.check_take(10, 1, &after), Step::Unknown { missed: true });
    assert!(fifo.is_idle(), "an empty pipe begins anew");
}

#[test]
fn the_pipe_that_nobody_wants_makes_room_first() {
    let key = |number| ObjectKey { inode: 1, number, ..ObjectKey::default() };
    let mut set = PipeSet { lock: 0, fifos: [Fifo::default(); PIPES] };
    let view = View { content: 10, tail: 0, head: 1, ..View::default() };
    for number in 1..=4 {
        let claimed = set.claim(&key(number), number as u32);
        assert!(claimed.was_free && !claimed.lost);
        if number != 3 {
            set.fifos[claimed.index].push(&Segment { end: 1, ..spliced(1, 1, 10) }, &view);
        }
    }
    let place = set.find(&key(3));
    let claimed = set.claim(&key(5), 5);
    assert_eq!((claimed.index, claimed.lost), (place, false));
    set.fifos[claimed.index].push(&Segment { end: 1, ..spliced(1, 1, 10) }, &view);
    let place = set.find(&key(1));
    let claimed = set.claim(&key(6), 6);
    assert_eq!((claimed.index, claimed.lost, claimed.was_free), (place, true, false));
    assert_eq!(set.find(&key(1)), PIPES);
}
