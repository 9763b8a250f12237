use std::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

use proptest::prelude::*;

use super::*;

const A: u32 = 1;
const B: u32 = 2;

fn row(number: u32) -> RowKey {
    RowKey { path: 8, tid: 7, source: number, ..RowKey::NONE }
}

/// A stream, and what was counted of it: bytes by row and class.
struct Line {
    stream: Box<Stream>,
    counted: BTreeMap<(u32, u32), u64>,
    before: Before,
}

impl Line {
    fn new(number: u32) -> Self {
        let mut stream = Box::new(Stream::NONE);
        // SAFETY: only this test's.
        unsafe { Stream::begin(&raw mut *stream, number) };
        Self { stream, counted: BTreeMap::new(), before: Before::Nothing }
    }

    /// Of a process that ran before it was traced.
    fn former(number: u32, before: Before) -> Self {
        Self { before, ..Self::new(number) }
    }

    /// A call that sent `parts`, when the stream has bytes up to `end`.
    fn call(&mut self, parts: &[(u32, u32)], end: u32) -> bool {
        let bytes = parts.iter().map(|(_, bytes)| bytes).sum();
        let stream = &raw mut *self.stream;
        let count = u32::try_from(parts.len()).expect("few");
        // SAFETY: only this test's.
        let known = unsafe {
            match Stream::claim(stream, &row(parts[0].0), count, bytes, end, self.before) {
                Claim::Parts { start } => {
                    let mut number = start;
                    parts.iter().all(|(name, bytes)| {
                        number = number.wrapping_add(*bytes);
                        Stream::push_call(stream, &row(*name), number)
                    })
                }
                Claim::Row => {
                    let row = (*stream).open_row;
                    Stream::push_call(stream, &row, end)
                }
                Claim::Unknown => {
                    Stream::push_call(stream, &RowKey::NONE, end);
                    false
                }
                Claim::Former => {
                    Stream::push_call(stream, &RowKey::NONE, end);
                    true
                }
                Claim::Open => true,
                Claim::Full => false,
            }
        };
        self.count();
        known
    }

    fn sent(&mut self, start: u32, end: u32, class: Class) -> bool {
        // SAFETY: only this test's.
        let kept = unsafe { Stream::log(&raw mut *self.stream, start, end, class as u32) };
        self.count();
        kept
    }

    fn count(&mut self) {
        let mut share = Share::default();
        // SAFETY: only this test's.
        while unsafe { Stream::step(&raw mut *self.stream, &mut share) } {
            if share.bytes != 0 {
                *self.counted.entry((share.row.source, share.class)).or_default() += u64::from(share.bytes);
            }
        }
        // SAFETY: as above.
        assert!(!unsafe { Stream::has_match(&raw const *self.stream) });
    }

    fn of(&self, row: u32, class: Class) -> u64 {
        self.counted.get(&(row, class as u32)).copied().unwrap_or(0)
    }
}

#[test]
fn bytes_are_of_the_call_that_sent_them_whichever_comes_first() {
    let start = u32::MAX - 50;
    let mut line = Line::new(start);
    let at = |number: u32| start.wrapping_add(number);
    assert!(line.sent(at(0), at(80), Class::PageCache));
    assert!(line.call(&[(A, 100)], at(100)));
    assert_eq!(line.of(A, Class::PageCache), 80);
    assert!(line.call(&[(B, 7)], at(107)));
    assert!(line.sent(at(80), at(100), Class::User));
    assert!(line.stream.is_waiting());
    assert!(line.sent(at(100), at(107), Class::Private));
    assert_eq!((line.of(A, Class::User), line.of(B, Class::Private)), (20, 7));
    assert!(!line.stream.is_waiting());
}

const SENT_BEFORE: Before = Before::Calls { seen_leaving: true };

#[test]
fn bytes_from_before_are_of_nobody_and_what_comes_after_them_is_known() {
    // Ten bytes had been sent before, and leave within the first call.
    let mut line = Line::former(100, SENT_BEFORE);
    line.sent(100, 150, Class::PageCache);
    assert!(line.call(&[(A, 90)], 200));
    line.sent(150, 210, Class::PageCache);
    assert!(line.call(&[(B, 7)], 207));
    assert!(line.call(&[(A, 3)], 210));
    assert_eq!((line.of(A, Class::PageCache), line.of(B, Class::PageCache)), (3, 7));
    assert!(!line.stream.is_waiting());
    // Where there were none, the first call's are known, too.
    let mut line = Line::former(100, SENT_BEFORE);
    line.sent(100, 150, Class::PageCache);
    assert!(line.call(&[(A, 50)], 150));
    assert_eq!(line.of(A, Class::PageCache), 50);
}

#[test]
fn a_call_that_was_under_way_is_unknown_and_what_comes_after_it_is_known() {
    // What was seen begins after its first byte: before, somebody else may have sent, who has not told.
    for seen_leaving in [true, false] {
        let mut line = Line::former(100, Before::Calls { seen_leaving });
        line.sent(100, 150, Class::PageCache);
        assert!(line.call(&[(A, 80)], 150));
        line.sent(150, 157, Class::Private);
        assert!(line.call(&[(B, 7)], 157));
        assert_eq!(line.of(B, Class::Private), 7, "what comes is known");
        assert_eq!((line.of(A, Class::Unseen), line.of(A, Class::PageCache)), (0, 0));
    }
}

#[test]
fn who_had_begun_before_and_tells_late_makes_nothing_known_that_is_not() {
    // B had begun before A, sent 10 bytes before A's first and goes on in between.
    let mut line = Line::former(100, SENT_BEFORE);
    line.sent(100, 140, Class::Private);
    assert!(line.call(&[(A, 30)], 145));
    line.sent(140, 200, Class::PageCache);
    assert!(line.call(&[(B, 40)], 170));
    assert!(line.call(&[(A, 30)], 200));
    for class in [Class::Private, Class::PageCache] {
        assert_eq!((line.of(A, class), line.of(B, class)), (0, 0));
    }
}

#[test]
fn what_is_sent_again_counts_once() {
    let mut line = Line::new(0);
    line.sent(0, 50, Class::PageCache);
    line.sent(20, 50, Class::Flattened);
    line.sent(40, 70, Class::PageCache);
    line.call(&[(A, 70)], 70);
    assert_eq!(line.of(A, Class::PageCache), 70);
}

#[test]
fn what_was_not_seen_to_leave_is_unseen() {
    let mut line = Line::new(0);
    line.sent(30, 50, Class::PageCache);
    line.call(&[(A, 50)], 50);
    assert_eq!((line.of(A, Class::Unseen), line.of(A, Class::PageCache)), (30, 20));
}

#[test]
fn a_stream_that_was_first_seen_in_the_middle_of_a_call_knows_nothing_of_what_was_before() {
    let mut line = Line::new(30);
    line.sent(30, 50, Class::PageCache);
    line.call(&[(A, 50)], 50);
    assert_eq!((line.of(A, Class::Unseen), line.of(A, Class::PageCache)), (30, 20));
}

#[test]
fn parts_of_a_call_follow_each_other() {
    let mut line = Line::new(0);
    line.sent(0, 30, Class::Private);
    line.call(&[(A, 10), (B, 15), (A, 5)], 30);
    assert_eq!((line.of(A, Class::Private), line.of(B, Class::Private)), (15, 15));
}

#[test]
fn calls_that_overlap_are_told_apart_only_when_they_are_of_one_row() {
    // The second call had sent its bytes before the first one told.
    let mut line = Line::new(0);
    line.sent(0, 30, Class::PageCache);
    assert!(line.call(&[(A, 10)], 30));
    assert!(line.call(&[(A, 20)], 30));
    assert_eq!(line.of(A, Class::PageCache), 30);

    let mut line = Line::new(0);
    line.sent(0, 30, Class::PageCache);
    assert!(line.call(&[(A, 10)], 30));
    assert!(!line.call(&[(B, 20)], 30));
    assert_eq!(line.of(A, Class::PageCache) + line.of(B, Class::PageCache), 0);
    // What comes after that is known again.
    line.sent(30, 40, Class::User);
    assert!(line.call(&[(B, 10)], 40));
    assert_eq!(line.of(B, Class::User), 10);
}

#[test]
fn others_who_do_not_tell_are_given_up_after_a_while() {
    let mut line = Line::new(0);
    line.sent(0, 1000, Class::PageCache);
    let known = (1..=70).map(|call| line.call(&[(A, 5)], 10 * call)).filter(|known| !known).count();
    assert!(known >= 1);
    assert_eq!(line.of(A, Class::PageCache) % 5, 0);
    assert!(line.of(A, Class::PageCache) <= 50);
}

#[test]
fn too_many_changes_are_said_and_leave_what_follows_right() {
    let mut line = Line::new(0);
    let calls = u32::try_from(CALLS).expect("few");
    let mut lost = 0;
    for call in 0..2 * calls {
        let name = if call % 2 == 0 { A } else { B };
        lost += u32::from(!line.call(&[(name, 10)], 10 * (call + 1)));
    }
    assert!(lost > 0);
    line.sent(0, 20 * calls, Class::PageCache);
    assert!(line.of(A, Class::PageCache) <= u64::from(10 * calls));
    assert_eq!(line.of(A, Class::PageCache), u64::from(5 * calls));
    // The last one closes what was open.
    line.call(&[(A, 10)], 20 * calls + 10);
    line.sent(20 * calls, 20 * calls + 10, Class::User);
    line.call(&[(B, 10)], 20 * calls + 20);
    line.sent(20 * calls + 10, 20 * calls + 20, Class::User);
    assert_eq!(line.of(B, Class::User), 10);
}

/// What happens on a stream.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The next call ends.
    Call,
    /// So many more bytes leave.
    Leave(u32),
    /// So many bytes leave again.
    Again(u32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => Just(Event::Call),
        3 => (1_u32..60).prop_map(Event::Leave),
        1 => (1_u32..60).prop_map(Event::Again),
    ];
    prop::collection::vec(event, 0..200)
}

fn class_of(number: u32) -> Class {
    Class::ALL[1 + (number / 37 % 7) as usize]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_order_each_byte_is_counted_once_and_as_what_it_was(
        calls in prop::collection::vec((1_u32..4, 1_u32..80), 1..100),
        events in events(),
        origin in any::<u32>(),
    ) {
        let mut line = Line::new(origin);
        // Bytes that have been sent, have left, and whose calls have ended.
        let total: u32 = calls.iter().map(|(_, bytes)| bytes).sum();
        let (mut left, mut ended, mut next) = (0, 0, 0);
        let mut lost = false;
        let leave = |line: &mut Line, from: u32, to: u32| -> bool {
            (from..to).all(|at| {
                line.sent(origin.wrapping_add(at), origin.wrapping_add(at + 1), class_of(at))
            })
        };
        for event in events {
            match event {
                Event::Call if next < calls.len() => {
                    let (name, bytes) = calls[next];
                    ended += bytes;
                    next += 1;
                    lost |= !line.call(&[(name, bytes)], origin.wrapping_add(ended));
                }
                Event::Call => {}
                Event::Leave(bytes) => {
                    let to = (left + bytes).min(total);
                    lost |= !leave(&mut line, left, to);
                    left = to;
                }
                Event::Again(bytes) => {
                    let from = left.saturating_sub(bytes);
                    line.sent(origin.wrapping_add(from), origin.wrapping_add(left), Class::Flattened);
                }
            }
        }
        let mut wanted = BTreeMap::<(u32, u32), u64>::new();
        let mut at = 0;
        let mut owners = vec![];
        for (name, bytes) in &calls[..next] {
            owners.extend(vec![*name; *bytes as usize]);
        }
        while at < left.min(ended) {
            *wanted.entry((owners[at as usize], class_of(at) as u32)).or_default() += 1;
            at += 1;
        }
        if lost {
            for (key, bytes) in &line.counted {
                let of_none = key.0 == 0 || key.1 == Class::Unseen as u32;
                prop_assert!(of_none || wanted.get(key) >= Some(bytes));
            }
        } else {
            prop_assert_eq!(&line.counted, &wanted);
        }
    }
}
