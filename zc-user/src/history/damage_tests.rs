//! Crashes, damage, and what others do to the directory.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use proptest::prelude::*;

use super::{
    fixture::{ALL, PATHS, SEGMENT, all, append, dir, host, open, roll, simple, some_intervals, time, tree},
    schema::TABLES,
    *,
};

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
fn a_segment_that_somebody_removes_is_begun_anew() {
    let dir = dir();
    let (mut history, _) = open(dir.path());
    let path = dir.path().join(SEGMENT);
    append(&mut history, &[simple("12:00:10", 1)]);
    fs::remove_file(&path).expect("the segment");
    append(&mut history, &[simple("12:00:20", 2)]);
    assert_eq!(all(dir.path()), [simple("12:00:20", 2)]);
    fs::remove_file(&path).expect("the segment");
    let rolled = history.roll(time("13:00:00"));
    assert!(rolled.failed.is_empty() && rolled.notices.len() == 1, "{rolled:?}");
    assert_eq!(all(dir.path()), []);
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
    fn parquet_that_was_changed_is_read_or_said_not_to_be(
        intervals in some_intervals(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let dir = dir();
        let (mut history, _) = open(dir.path());
        append(&mut history, &intervals);
        let files = roll(&mut history, "15:00:00").finished;
        let mut changed = BTreeMap::new();
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
