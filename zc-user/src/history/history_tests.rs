use std::{fs, time::Duration};

use proptest::prelude::*;

use super::{
    fixture::{
        ALL, PATHS, SEGMENT, all, append, dir, host, interval, open, roll, simple, some_intervals, time, tree,
    },
    *,
};

#[test]
fn threads_can_have_them() {
    fn is_send<T: Send>() {}
    is_send::<History>();
    is_send::<Reading>();
    is_send::<Rolled>();
}

#[test]
fn an_hour_becomes_parquet_when_it_is_over() {
    let dir = dir();
    let (mut history, notices) = open(dir.path());
    assert_eq!(notices, []);
    let intervals = [
        simple("12:00:10", 1),
        simple("12:59:59", 2),
        interval("12:59:59.5", Vec::new()),
        simple("13:00:00", 3),
    ];
    append(&mut history, &intervals);
    assert_eq!(all(dir.path()), intervals);
    assert_eq!(roll(&mut history, "12:59:59").finished, <[PathBuf; 0]>::default());
    let rolled = roll(&mut history, "13:00:00");
    assert_eq!(rolled.finished.len(), 4);
    assert_eq!(rolled.removed, <[PathBuf; 0]>::default());
    let of = |table| {
        format!("parquet/{table}/date=2026-03-01/hour=12/{table}-web1-5f3a9c01-2026-03-01T12.parquet")
    };
    let expected = [
        "lock".to_owned(),
        SEGMENT.replace("T12", "T13"),
        of("intervals"),
        of("losses"),
        of("paths"),
        of("processes"),
    ];
    assert_eq!(tree(dir.path()), expected);
    assert_eq!(all(dir.path()), intervals, "the empty interval as well");
    append(&mut history, &[simple("13:00:10", 4)]);
    drop(history);
    let (_again, notices) = open(dir.path());
    assert_eq!(notices, []);
    assert_eq!(all(dir.path()).len(), 5);
}

#[test]
fn what_comes_late_is_not_lost() {
    let dir = dir();
    let (mut history, _) = open(dir.path());
    append(&mut history, &[simple("12:59:50", 1)]);
    let _ = roll(&mut history, "13:00:00");
    append(&mut history, &[simple("12:59:59", 2), simple("13:00:10", 3), simple("12:59:59.5", 4)]);
    let _ = roll(&mut history, "14:00:00");
    let mut bytes: Vec<_> =
        all(dir.path()).iter().map(|interval| interval.processes[0].rows[0].bytes).collect();
    assert_eq!(bytes, [1, 2, 4, 3]);
    append(&mut history, &[simple("12:59:59.9", 5)]);
    bytes = all(dir.path()).iter().map(|interval| interval.processes[0].rows[0].bytes).collect();
    assert_eq!(bytes, [1, 2, 4, 5, 3]);
    assert!(tree(dir.path()).contains(&SEGMENT.replace(".segment", ".2.segment")));
}

#[test]
fn only_what_ended_in_the_time_is_read() {
    let dir = dir();
    let (mut history, _) = open(dir.path());
    let intervals =
        [simple("12:00:10", 1), simple("13:00:00", 2), simple("13:00:10", 3), simple("14:00:00", 4)];
    append(&mut history, &intervals);
    let read_all = || {
        let of = |since: &str, until: &str| -> Vec<_> {
            let reading = read(dir.path(), time(since), time(until)).expect("a history");
            reading.map(|entry| entry.interval).collect()
        };
        assert_eq!(of("12:00:10", "13:00:10"), intervals[1..3]);
        assert_eq!(of("12:59:00", "13:00:00"), intervals[1..2]);
        assert_eq!(of("13:59:59", "14:00:00"), intervals[3..]);
        assert_eq!(of("14:00:00", "23:00:00"), []);
    };
    read_all();
    let _ = roll(&mut history, "15:00:00");
    read_all();
}

#[test]
fn files_of_other_versions_are_read_by_the_names_of_their_columns() {
    use schema::{Table, integer, text};
    // Another order, columns that are new, and none that may be absent.
    const OTHER: Table = Table {
        name: "paths",
        columns: &[
            text("new_text"),
            text("evidence"),
            text("path"),
            text("via"),
            text("source"),
            text("destination"),
            integer("new_bytes"),
            integer("bytes"),
            integer("pid"),
            integer("start_ns"),
            integer("transfers"),
            integer("syscalls"),
            integer("unknown_bytes"),
            integer("mode_switches"),
            integer("rchar_bytes"),
            integer("wchar_bytes"),
        ],
    };
    let dir = dir();
    let (mut history, _) = open(dir.path());
    append(&mut history, &[simple("12:00:10", 5)]);
    let _ = roll(&mut history, "13:00:00");
    let path = dir.path().join(PATHS);
    let mut writer = table::TableWriter::create(&path, OTHER).expect("a file");
    let host = host();
    let [start, end] = ["12:00:00", "12:00:10"].map(|text| time(text).as_microsecond());
    let [a, b, c] = ["web1", "k", "a"].map(table::Value::from);
    let common = [a, b, c, 4_u32.into(), host.boot_id.as_deref().into(), start.into(), end.into()];
    let texts = ["x", "reported", "read", "aio", "file", "tcp"].map(table::Value::from);
    let numbers = [99_i64, 5, 7, 1, 2, 3, 0, 4, 5, 0].map(table::Value::from);
    writer.push(common.into_iter().chain(texts).chain(numbers)).expect("room");
    writer.finish().expect("room");
    let row = all(dir.path())[0].processes[0].rows[0];
    assert_eq!((row.bytes, row.transfers, row.mode_switches, row.rchar_bytes), (5, 2, 4, 5));
    assert_eq!(
        (row.cpu_copied_bytes, row.reason, row.name.via),
        (None, None, crate::model::report::Via::Aio)
    );
}

#[test]
fn what_is_too_old_goes_with_its_partition() {
    let dir = dir();
    let limits = Limits { max_age: Duration::from_secs(7200), max_bytes: u64::MAX };
    let (mut history, _) = History::open(dir.path(), host(), limits).expect("a history");
    append(&mut history, &[simple("11:00:10", 1), simple("12:00:10", 2), simple("13:00:10", 3)]);
    assert_eq!(roll(&mut history, "13:59:59").removed.len(), 0);
    let removed = roll(&mut history, "14:00:00").removed;
    assert_eq!(removed.len(), 4);
    assert!(removed[0].to_str().expect("UTF-8").contains("/intervals-"), "{removed:?}");
    assert!(!dir.path().join("parquet/paths/date=2026-03-01/hour=11").exists());
    assert_eq!(all(dir.path()).len(), 2);
    let all_removed = history.roll("2026-03-09T00:00:00Z".parse().expect("a time")).removed;
    assert_eq!(all_removed.len(), 8);
    assert!(!dir.path().join("parquet/paths/date=2026-03-01").exists());
}

#[test]
fn the_oldest_goes_when_there_is_too_much_and_the_open_segment_stays() {
    let dir = dir();
    let fill = |limits| {
        let (mut history, _) = History::open(dir.path(), host(), limits).expect("a history");
        append(&mut history, &[simple("11:00:10", 1), simple("12:00:10", 2), simple("13:00:10", 3)]);
        let removed = roll(&mut history, "13:30:00").removed;
        (history, removed)
    };
    let (history, removed) = fill(ALL);
    assert_eq!(removed.len(), 0);
    let bytes: u64 = sets::list(&history.layout).expect("sets").values().map(sets::Set::bytes).sum();
    let open_bytes = fs::metadata(dir.path().join(SEGMENT.replace("T12", "T13"))).expect("the segment").len();
    drop(history);
    let with = |max_bytes| {
        let limits = Limits { max_age: Duration::MAX, max_bytes };
        let (mut history, _) = History::open(dir.path(), host(), limits).expect("a history");
        let _ = roll(&mut history, "13:30:00");
        all(dir.path()).iter().map(|interval| interval.processes[0].rows[0].bytes).collect::<Vec<_>>()
    };
    assert_eq!(with(bytes + open_bytes), [1, 2, 3]);
    assert_eq!(with(bytes + open_bytes - 1), [2, 3]);
    assert_eq!(with(0), [3]);
}

#[test]
fn a_segment_that_grows_pushes_out_what_is_old_within_the_hour() {
    let dir = dir();
    let limits = Limits { max_age: Duration::MAX, max_bytes: 40_000 };
    let (mut history, _) = History::open(dir.path(), host(), limits).expect("a history");
    append(&mut history, &[simple("12:00:10", 1), simple("13:00:00", 2)]);
    assert_eq!(roll(&mut history, "13:00:01").removed.len(), 0);
    let mut removed = 0;
    for _ in 0..200 {
        append(&mut history, &[simple("13:00:10", 3)]);
        removed += roll(&mut history, "13:00:10").removed.len();
    }
    assert_eq!(removed, 4);
    assert_eq!(all(dir.path()).len(), 201, "of the open segment nothing");
}

#[test]
fn a_broken_file_goes_with_its_age() {
    let dir = dir();
    let limits = Limits { max_age: Duration::from_secs(3600), max_bytes: u64::MAX };
    let (mut history, _) = History::open(dir.path(), host(), limits).expect("a history");
    let broken = dir.path().join("open/x.segment.broken");
    fs::write(&broken, "x").expect("a file");
    assert_eq!(history.roll(Timestamp::now()).removed, <[PathBuf; 0]>::default());
    let later = Timestamp::now() + jiff::SignedDuration::from_secs(3601);
    assert_eq!(history.roll(later).removed, [broken]);
}

#[test]
fn it_is_read_while_it_is_written() {
    let dir = dir();
    let (mut history, _) = open(dir.path());
    let hours = ["10", "11", "12", "13"];
    let path = dir.path().to_path_buf();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        let mut least = 0;
        while ended.try_recv().is_err() {
            let intervals = all(&path);
            assert!(intervals.len() >= least, "nothing that was there is missed");
            least = intervals.len();
            let sum: i64 = intervals.iter().map(|interval| interval.processes[0].rows[0].bytes).sum();
            assert_eq!(usize::try_from(sum), Ok(least), "each once");
        }
    });
    for hour in hours {
        for minute in 0..30 {
            append(&mut history, &[simple(&format!("{hour}:{minute:02}:10"), 1)]);
        }
        let _ = roll(&mut history, &format!("{hour}:59:00"));
    }
    let _ = end.send(());
    reader.join().expect("the reader");
    assert_eq!(all(dir.path()).len(), 120);
}

#[test]
fn a_reader_keeps_a_segment_that_becomes_parquet() {
    let dir = dir();
    let (mut history, _) = open(dir.path());
    append(&mut history, &[simple("12:00:10", 1), simple("12:00:20", 2)]);
    let mut reading = read(dir.path(), Timestamp::MIN, Timestamp::MAX).expect("a history");
    let _ = roll(&mut history, "13:00:00");
    assert_eq!(reading.by_ref().count(), 2);
    assert_eq!(reading.notices(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn parquet_says_what_the_segment_said(intervals in some_intervals()) {
        let dir = dir();
        let (mut history, _) = open(dir.path());
        append(&mut history, &intervals);
        prop_assert_eq!(&all(dir.path()), &intervals);
        let _ = roll(&mut history, "15:00:00");
        prop_assert!(!tree(dir.path()).iter().any(|name| name.ends_with(".segment")));
        prop_assert_eq!(&all(dir.path()), &intervals);
    }
}
