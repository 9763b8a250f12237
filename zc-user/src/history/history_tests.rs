use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    time::Duration,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    fixture::{ALL, all, host, interval, open, simple, some_intervals, time},
    schema::TABLES,
    *,
};

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn append(history: &mut History, intervals: &[Interval]) {
    for interval in intervals {
        history.append(interval).expect("room");
    }
}

/// Rolls; nothing may fail or be wrong.
fn roll(history: &mut History, now: &str) -> Rolled {
    let rolled = history.roll(time(now));
    assert!(rolled.failed.is_empty() && rolled.notices.is_empty(), "{rolled:?}");
    rolled
}

/// Every file, by its path in the directory.
fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(dir).expect("within").to_str().expect("UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn threads_can_have_them() {
    fn is_send<T: Send>() {}
    is_send::<History>();
    is_send::<Reading>();
    is_send::<Rolled>();
}

const SEGMENT: &str = "open/web1-5f3a9c01-2026-03-01T12.segment";
const PATHS: &str = "parquet/paths/date=2026-03-01/hour=12/paths-web1-5f3a9c01-2026-03-01T12.parquet";

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
fn a_write_that_was_cut_anywhere_loses_one_interval() {
    let dir = dir();
    let intervals = [simple("12:00:10", 1), simple("12:00:20", 2)];
    let path = dir.path().join(SEGMENT);
    let (mut history, _) = open(dir.path());
    append(&mut history, &intervals[..1]);
    let whole = fs::read(&path).expect("the segment").len();
    append(&mut history, &intervals[1..]);
    drop(history);
    let bytes = fs::read(&path).expect("the segment");
    for cut in whole..bytes.len() {
        fs::write(&path, &bytes[..cut]).expect("the segment");
        let reading = read(dir.path(), Timestamp::MIN, Timestamp::MAX).expect("a history");
        assert_eq!(reading.count(), 1, "it is read also before it is mended");
        let (mut history, notices) = open(dir.path());
        let torn = Notice {
            path: path.clone(),
            what: Found::TornTail {
                bytes: (cut - whole) as u64,
                why: "a record was not written to its end".to_owned(),
            },
        };
        assert_eq!(notices, if cut == whole { Vec::new() } else { vec![torn] });
        assert_eq!(fs::metadata(&path).expect("the segment").len(), whole as u64);
        append(&mut history, &intervals[1..]);
        assert_eq!(all(dir.path()), intervals);
    }
}

#[test]
fn what_is_no_segment_is_set_aside() {
    let dir = dir();
    let path = dir.path().join(SEGMENT);
    for (times, content) in [&b""[..], b"zchist", b"zchist\x02\n", b"something else"].into_iter().enumerate()
    {
        drop(open(dir.path()));
        fs::write(&path, content).expect("a file");
        let (mut history, notices) = open(dir.path());
        assert_eq!(notices.len(), 1);
        assert!(notices[0].to_string().contains(".broken"), "{}", notices[0]);
        let aside = tree(dir.path()).iter().filter(|name| name.ends_with(".broken")).count();
        assert_eq!(aside, times + 1, "none takes another's place");
        append(&mut history, &[simple("12:00:10", 1)]);
        assert_eq!(all(dir.path()).len(), 1);
        fs::remove_file(&path).expect("the segment");
    }
    drop(open(dir.path()));
    symlink("/etc/passwd", &path).expect("a link");
    let (mut history, notices) = open(dir.path());
    assert!(matches!(notices[0].what, Found::SetAside { .. }), "{notices:?}");
    append(&mut history, &[simple("12:00:10", 1)]);
    assert_eq!(all(dir.path()).len(), 1);
}

#[test]
fn a_crash_at_any_step_of_rolling_counts_nothing_twice() {
    let intervals = [simple("12:00:10", 1), simple("12:00:20", 2), simple("13:00:10", 3)];
    // Step 0: files without names; 1 to 4: so many have got theirs.
    for step in 0..=TABLES.len() {
        let dir = dir();
        let (mut history, _) = open(dir.path());
        append(&mut history, &intervals);
        let segment = &history.segments[0];
        assert_eq!(roll::write(&history.layout, segment).expect("room"), None);
        for table in TABLES.into_iter().take(step) {
            roll::publish(&history.layout, table, &segment.stem).expect("room");
        }
        assert_eq!(all(dir.path()), intervals, "read before anything is mended, step {step}");
        drop(history);
        let (mut history, notices) = open(dir.path());
        assert_eq!(notices, []);
        assert!(fs::read_dir(dir.path().join("tmp")).expect("a directory").next().is_none());
        assert_eq!(all(dir.path()), intervals, "step {step}");
        assert_eq!(roll(&mut history, "13:30:00").finished.len(), 4);
        assert_eq!(all(dir.path()), intervals, "step {step}");
        assert_eq!(roll(&mut history, "13:30:00").finished.len(), 0);
        assert_eq!(tree(dir.path()).len(), 6, "{:?}", tree(dir.path()));
    }
}

#[test]
fn a_segment_that_is_damaged_after_it_was_opened_is_kept() {
    let dir = dir();
    let (mut history, _) = open(dir.path());
    append(&mut history, &[simple("12:00:10", 1), simple("12:00:20", 2)]);
    let path = dir.path().join(SEGMENT);
    let mut bytes = fs::read(&path).expect("the segment");
    *bytes.last_mut().expect("a byte") ^= 1;
    fs::write(&path, bytes).expect("the segment");
    let rolled = history.roll(time("13:00:00"));
    assert!(matches!(rolled.notices[0].what, Found::SetAside { .. }), "{rolled:?}");
    assert_eq!(all(dir.path()).len(), 1);
    assert!(tree(dir.path()).contains(&format!("{SEGMENT}.broken")));
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
fn two_writers_exclude_each_other() {
    let dir = dir();
    let (history, _) = open(dir.path());
    let error = History::open(dir.path(), host(), ALL).expect_err("locked");
    let holder = std::process::id();
    assert!(matches!(error, HistoryError::Locked { holder: Some(pid), .. } if pid == holder), "{error}");
    assert!(error.to_string().contains(&format!("({holder})")), "{error}");
    drop(history);
    drop(open(dir.path()));
}

#[test]
fn nobody_else_may_read_or_write() {
    let top = dir();
    let dir = top.path().join("a/b");
    let (mut history, _) = open(&dir);
    append(&mut history, &[simple("12:00:10", 1), simple("13:00:10", 1)]);
    let _ = roll(&mut history, "13:30:00");
    let mut left = vec![top.path().join("a")];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("a file");
        let most = if metadata.is_dir() { 0o750 } else { 0o640 };
        assert_eq!(metadata.permissions().mode() & 0o777 & !most, 0, "{path:?}");
        if metadata.is_dir() {
            left.extend(
                fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path()),
            );
        }
    }
    drop(history);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("the mode");
    let error = History::open(&dir, host(), ALL).expect_err("anybody may write");
    assert!(error.to_string().contains("chmod o-w"), "{error}");
}

#[test]
fn no_link_leads_out_of_the_directory() {
    let outside = dir();
    for name in ["open", "parquet", "tmp", "lock"] {
        let dir = dir();
        symlink(outside.path().join("target"), dir.path().join(name)).expect("a link");
        let error = History::open(dir.path(), host(), ALL).expect_err("a link");
        assert!(error.to_string().contains(name), "{error}");
    }
    let dir = dir();
    let (mut history, _) = open(dir.path());
    symlink(outside.path(), dir.path().join("parquet/paths")).expect("a link");
    append(&mut history, &[simple("12:00:10", 1)]);
    let rolled = history.roll(time("13:00:00"));
    assert!(rolled.failed[0].to_string().contains("a symbolic link"), "{rolled:?}");
    assert!(fs::read_dir(outside.path()).expect("a directory").next().is_none());
    assert_eq!(all(dir.path()).len(), 1, "the segment is kept");
    fs::remove_file(dir.path().join("parquet/paths")).expect("the link");
    assert_eq!(roll(&mut history, "13:00:00").finished.len(), 4);
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

#[test]
fn files_that_cannot_be_read_are_said() {
    let dir = dir();
    let (mut history, _) = open(dir.path());
    append(&mut history, &[simple("12:00:10", 1), simple("13:00:10", 2)]);
    let _ = roll(&mut history, "14:00:00");
    let path = dir.path().join(PATHS);
    let read_all = || {
        let mut reading = read(dir.path(), Timestamp::MIN, Timestamp::MAX).expect("a history");
        let count = reading.by_ref().count();
        (count, reading.notices().iter().map(Notice::to_string).collect::<Vec<_>>())
    };
    let bytes = fs::read(&path).expect("the file");
    fs::write(&path, "PAR1 and nothing else").expect("the file");
    let (count, notices) = read_all();
    assert_eq!((count, notices.len()), (1, 1), "{notices:?}");
    fs::remove_file(&path).expect("the file");
    assert!(read_all().1[0].contains("it has no file of paths"));
    fs::write(&path, bytes).expect("the file");
    assert_eq!(read_all(), (2, Vec::new()));
    read(&dir.path().join("nowhere"), Timestamp::MIN, Timestamp::MAX).expect_err("no directory");
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

    #[test]
    fn parquet_that_was_changed_is_read_or_said_not_to_be(
        intervals in some_intervals(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let dir = dir();
        let (mut history, _) = open(dir.path());
        append(&mut history, &intervals);
        let files = roll(&mut history, "15:00:00").finished;
        let mut changed = std::collections::BTreeMap::new();
        for (file, place, byte) in changes {
            let Some(path) = files.get(file.index(files.len().max(1))) else { continue };
            let before = fs::read(path).expect("the file");
            let mut bytes = before.clone();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            fs::write(path, &bytes).expect("the file");
            changed.entry(path).or_insert((before, Vec::new())).1 = bytes;
        }
        let is_damaged = changed.values().any(|(before, after)| before != after);
        let mut reading = read(dir.path(), Timestamp::MIN, Timestamp::MAX).expect("a history");
        let count = reading.by_ref().count();
        prop_assert_eq!(count < intervals.len(), is_damaged);
        prop_assert_eq!(!reading.notices().is_empty(), is_damaged);
    }

    #[test]
    fn any_bytes_in_place_of_a_segment_do(bytes in prop::collection::vec(any::<u8>(), 0..200), is_segment in any::<bool>()) {
        let dir = dir();
        drop(open(dir.path()));
        let mut all = if is_segment { segment::HEADER.to_vec() } else { Vec::new() };
        all.extend(&bytes);
        fs::write(dir.path().join(SEGMENT), &all).expect("a file");
        let (mut history, notices) = open(dir.path());
        prop_assert!(notices.len() == 1 || all == segment::HEADER);
        append(&mut history, &[simple("12:00:10", 1)]);
        let rolled = history.roll(time("13:00:00"));
        prop_assert_eq!(rolled.finished.len(), 4);
    }
}
