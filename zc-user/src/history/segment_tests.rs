use std::fs;

use proptest::prelude::*;

use super::*;
use crate::{
    history::fixture::{host, simple, some_intervals},
    model::Interval,
};

/// A segment of these intervals, and where each record ends.
fn segment(intervals: &[Interval]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = HEADER.to_vec();
    let mut ends = vec![bytes.len()];
    for interval in intervals {
        bytes.extend(encode(&Stored::of(&host(), interval)).expect("a record"));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

/// What can be read, how it ends, and where the good part does.
fn read(bytes: &[u8]) -> (Vec<Interval>, Next, u64) {
    let Ok(mut reader) = Reader::new(bytes).expect("memory") else {
        return (Vec::new(), Next::Damaged("header"), 0);
    };
    let mut intervals = Vec::new();
    loop {
        match reader.next().expect("memory") {
            Next::Record(content) => {
                let (of, interval, unknown) = decode(&content).expect("what was encoded").into_interval();
                assert_eq!((of, unknown), (host(), 0));
                intervals.push(interval);
            }
            end => return (intervals, end, reader.good_bytes),
        }
    }
}

#[test]
fn another_version_and_another_file_are_told_apart() {
    let other = |bytes: &[u8]| Reader::new(bytes).expect("memory").expect_err("no segment");
    assert_eq!(other(b"zchist\x07\n"), "its form is version 7, this zc knows version 1");
    assert_eq!(other(b"PAR1...."), "it does not begin as a segment does");
    assert_eq!(other(b""), "it does not begin as a segment does");
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    let (mut bytes, _) = segment(&[]);
    bytes.extend((u32::try_from(RECORD_MAX_BYTES).expect("a length")).to_le_bytes());
    bytes.extend([0; 20]);
    assert_eq!(read(&bytes).1, Next::Incomplete);
    bytes[HEADER.len()..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read(&bytes).1, Next::Damaged(_)));
    bytes[HEADER.len()..].fill(0);
    assert!(
        matches!(read(&bytes).1, Next::Damaged(_)),
        "a file system that grew the file, but lost what was in it"
    );
}

#[test]
fn content_that_is_none_is_an_error() {
    for content in [&b""[..], b"\xff\xff\xff\xff\x0f", b"\x05\x10hello"] {
        assert!(decode(content).is_err());
    }
}

#[test]
fn words_of_another_version_are_passed_over() {
    let json = br#"{"host":{"hostname":"h","kernel":"k","arch":"a","cpus":1,"boot_id":null,"new":1},"new":[],
        "start":"2026-03-01T12:00:00Z","end":"2026-03-01T12:00:10Z","processes":[{"pid":1,"start_ns":2,"new":{},"paths":[
        {"path":"teleport","via":"syscall","source":"file","destination":"tcp","bytes":5,"evidence":"witnessed"},
        {"path":"read","via":"syscall","source":"moon","destination":"tcp","bytes":6,"evidence":"guessed","reason":"new"}]}]}"#;
    let compressed = snap::raw::Encoder::new().compress_vec(json).expect("compressed");
    let (_, interval, unknown) = decode(&compressed).expect("a record").into_interval();
    assert_eq!(unknown, 1);
    let row = interval.processes[0].rows[0];
    assert_eq!((row.bytes, row.name.source, row.reason), (6, zc_common::path::Kind::Other, None));
    assert_eq!(row.evidence, crate::model::report::Evidence::Inferred);
}

#[test]
fn command_lines_are_cut_at_a_letter() {
    let mut interval = simple("12:00:00", 1);
    let words = ["x".repeat(4000), "é".repeat(100), "never".to_owned()];
    interval.processes[0].who.cmdline = words.to_vec();
    let (bytes, _) = segment(&[interval]);
    let kept = &read(&bytes).0[0].processes[0].who.cmdline;
    assert_eq!(kept, &["x".repeat(4000), "é".repeat(47)]);
}

/// A disk that takes so many more bytes, and then none.
#[derive(Debug)]
struct Full {
    file: File,
    room_bytes: usize,
    cuts: bool,
}

impl Medium for Full {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = bytes.len().min(self.room_bytes);
        Medium::write_all(&mut self.file, &bytes[..taken])?;
        if taken < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    fn cut(&mut self, len_bytes: u64) -> io::Result<()> {
        if self.cuts { self.file.cut(len_bytes) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }
}

#[test]
fn a_record_that_finds_no_room_leaves_the_segment_as_it_was() {
    let intervals = [simple("12:00:10", 1), simple("12:00:20", 2), simple("12:00:30", 3)];
    let (bytes, ends) = segment(&intervals);
    let record = |index: usize| &bytes[ends[index]..ends[index + 1]];
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("segment");
    let stem = Stem::parse("web1-2026-03-01T12").expect("a stem");
    for room_bytes in 0..record(1).len() {
        for cuts in [true, false] {
            fs::write(&path, &bytes[..ends[1]]).expect("a segment");
            let medium = |room_bytes, cuts| Full {
                file: files::open_to_append(&path).expect("the segment"),
                room_bytes,
                cuts,
            };
            let mut segment: Segment<Full> = Segment {
                stem: stem.clone(),
                path: path.clone(),
                good_bytes: ends[1] as u64,
                is_dirty: false,
                file: None,
            };
            segment.append_to(medium(room_bytes, cuts), record(1)).expect_err("no room");
            let now = fs::read(&path).expect("the segment");
            assert_eq!(now.len(), ends[1] + if cuts { 0 } else { room_bytes });
            assert_eq!(read(&now).0, intervals[..1]);
            if !cuts {
                // As long as it cannot be cut, nothing is added.
                segment.append_to(medium(usize::MAX, false), record(1)).expect_err("still dirty");
                assert_eq!(fs::read(&path).expect("the segment"), now);
            }
            segment.append_to(medium(usize::MAX, true), record(2)).expect("room");
            let (kept, end, _) = read(&fs::read(&path).expect("the segment"));
            assert_eq!((kept, end), (vec![intervals[0].clone(), intervals[2].clone()], Next::End));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn intervals_are_read_back(intervals in some_intervals()) {
        let (bytes, _) = segment(&intervals);
        prop_assert_eq!(read(&bytes), (intervals, Next::End, bytes.len() as u64));
    }

    #[test]
    fn a_cut_segment_is_a_prefix(intervals in some_intervals(), cut in any::<prop::sample::Index>()) {
        let (bytes, ends) = segment(&intervals);
        let cut = cut.index(bytes.len() + 1);
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        let (kept, end, good_bytes) = read(&bytes[..cut]);
        prop_assert_eq!(&kept, &intervals[..whole.saturating_sub(1)]);
        if whole > 0 {
            prop_assert_eq!(good_bytes, ends[whole - 1] as u64);
            prop_assert_eq!(end == Next::End, cut == ends[whole - 1]);
        }
    }

    #[test]
    fn a_changed_byte_is_seen(
        intervals in some_intervals(),
        place in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let (mut bytes, ends) = segment(&intervals);
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        let before = ends.iter().filter(|&&end| end <= place).count();
        let (kept, end, _) = read(&bytes);
        prop_assert_eq!(&kept, &intervals[..before.saturating_sub(1)]);
        prop_assert_ne!(end, Next::End);
    }

    #[test]
    fn any_bytes_do(bytes in prop::collection::vec(any::<u8>(), 0..400), is_segment in any::<bool>()) {
        let mut all = if is_segment { HEADER.to_vec() } else { Vec::new() };
        all.extend(&bytes);
        let Ok(mut reader) = Reader::new(&all[..]).expect("memory") else { return Ok(()) };
        while let Next::Record(content) = reader.next().expect("memory") {
            let _ = decode(&content);
        }
        let _ = decode(&bytes);
        let _ = decode(&snap::raw::Encoder::new().compress_vec(&bytes).expect("compressed"));
        prop_assert!(reader.good_bytes <= all.len() as u64);
    }
}
