//! What `zc lab` answers, and in what it is known to differ from the textbook.

use std::path::Path;

use serde_json::Value;

use crate::{
    compare::{RUNS, UNSEEN},
    zc::Zc,
};

/// Rows, a number of theirs, and how what zc must say of it begins.
pub type Known = (&'static [&'static str], &'static str, &'static str);

/// Numbers that are known to differ from the textbook's, or not to be known, on every machine like this one: the rows
/// (all when there is none), the number, and the beginning of what zc must say of it.
///
/// Numbers that depend on the moment are in [`SOMETIMES`].
pub const ALWAYS: &[Known] = &[
    // There is no network card on either way.
    (&["read+write", "mmap+write", "sendfile", "splice"], "device_sends", "loopback has no network card"),
    (&["sendfile-copied"], "device_sends", "a veth pair has no network card"),
    // What the kernel does inside of this call is not seen.
    (&["copy_file_range"], "cpu_copies", "not witnessed"),
    // The text counts one fault a page; Linux maps more.
    (
        &["mmap+write", "mmap-read", "appends", "demand-paging", "shared-mapping"],
        "faults",
        "a fault maps more than its page",
    ),
    (&["mmap+write"], "mode_switches", "faults within a call"),
    (&["ways-in"], "mode_switches", "zc does not count interrupts yet"),
    // Threads do other things while requests of a ring go on.
    (&["io_uring-read"], "device_reads", "zc did not count what was read from storage for this"),
    // The second read finds its page, and with it the mark that makes the kernel read on.
    (&["read-ahead"], "device_reads", "the kernel read ahead"),
];

/// Numbers that may differ.
pub const SOMETIMES: &[Known] = &[
    // Two threads that send at the same time, or bytes that wait in the socket at the end.
    (&["splice", "tee", "vmsplice"], "cpu_copies", "not witnessed"),
    // A report that the program takes on another CPU before zc has looked is missed, and its bytes are unknown.
    (&["send-zerocopy"], "cpu_copies", "not witnessed"),
    (&["send-zerocopy"], "cpu_copies", "the kernel reported that it copied"),
    // The reports of the last sends come when they come.
    (&["send-zerocopy"], "system_calls", "some completions were waited for"),
    (&["send-zerocopy"], "mode_switches", "some completions were waited for"),
    // A full socket takes what it has room for.
    (
        &["sendfile", "sendfile-copied", "splice", "tee", "vmsplice", "shared-mapping"],
        "system_calls",
        "a call moved less",
    ),
    (&["sendfile", "sendfile-copied", "splice", "tee", "vmsplice"], "mode_switches", "a call moved less"),
];

/// The lab with its answer in JSON.
pub fn lab(zc: &Zc, dir: &Path, options: &[&str]) -> Value {
    let dir = dir.to_str().expect("a UTF-8 path");
    let mut words = vec!["lab", "--format", "json", "--dir", dir];
    words.extend(options);
    let done = zc.job(&words).finish();
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
    serde_json::from_slice(&done.stdout).expect("an answer in JSON")
}

/// A list in an answer.
pub fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or_else(|| panic!("no {name} in {value}"), Vec::as_slice)
}

/// A text in an answer; empty when it is not there.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Cases of an answer, with the names of their rows.
pub fn cases(answer: &Value) -> impl Iterator<Item = (&str, &Value)> {
    array(answer, "rows")
        .iter()
        .flat_map(|row| array(row, "cases").iter().map(|case| (text(row, "name"), case)))
}

/// The case of this row and name.
pub fn case<'a>(answer: &'a Value, row: &str, name: &str) -> &'a Value {
    let mut found = cases(answer).filter(|(of, case)| *of == row && text(case, "name") == name);
    found.next().unwrap_or_else(|| panic!("no {name} of {row}")).1
}

/// A number that differs, or is not known.
#[derive(Clone, Copy, Debug)]
pub struct Disagreement<'a> {
    /// The row's name.
    pub row: &'a str,
    /// The case's name.
    pub case: &'a str,
    /// The number's name.
    pub number: &'a str,
    /// What zc says of it.
    pub why: &'a str,
}

/// Everything that differs or is not known.
pub fn disagreements(answer: &Value) -> Vec<Disagreement<'_>> {
    let of_case = |(row, case)| {
        let disagree = array(case, "judgements").iter().filter(|one| text(one, "agreement") != "agrees");
        let told = |one| Disagreement {
            row,
            case: text(case, "name"),
            number: text(one, "number"),
            why: text(one, "cause"),
        };
        disagree.map(told).collect::<Vec<_>>()
    };
    cases(answer).flat_map(of_case).collect()
}

/// Whether this is the difference that is known.
pub fn is_known_as(known: &Known, one: &Disagreement<'_>) -> bool {
    known.0.contains(&one.row) && known.1 == one.number && !one.why.is_empty() && one.why.starts_with(known.2)
}

/// Rows 3 and 4 of the textbook are one call, and differ by what was seen to leave: copies of a byte, and the verdict.
const SENDFILE_BY_DEVICE: [(&str, u32, &str); 2] =
    [("sendfile", 0, "zero-copy"), ("sendfile-copied", 1, "copied")];

/// The answer of both rows; run again as long as it is [true but unseen](crate::compare::is_true_but_unseen), [`RUNS`] times in all.
pub fn sendfile_by_device(zc: &Zc, dir: &Path) -> Value {
    let run = || lab(zc, dir, &SENDFILE_BY_DEVICE.map(|(row, ..)| ["--only", row]).concat());
    let mut answer = run();
    for _ in 1..RUNS {
        if !is_sendfile_true_but_unseen(&answer) {
            break;
        }
        eprintln!("some bytes were not seen to leave, and are said to be unknown; once more");
        answer = run();
    }
    answer
}

/// Whether some bytes were not seen to leave, and of all others what they were is said.
fn is_sendfile_true_but_unseen(answer: &Value) -> bool {
    let seen: Vec<_> = cases(answer)
        .flat_map(|(name, case)| array(&case["measured"], "seen").iter().map(move |row| (name, row)))
        .collect();
    let is_true = |(name, row): &(&str, &Value)| {
        let [all, unknown, copied] = ["bytes", "unknown_bytes", "cpu_copied_bytes"]
            .map(|bytes| row[bytes].as_u64().unwrap_or_default());
        let copies =
            SENDFILE_BY_DEVICE.iter().find(|(row, ..)| row == name).map(|(_, copies, _)| u64::from(*copies));
        all > unknown && copies.is_some_and(|copies| copied == copies * (all - unknown))
    };
    seen.iter().any(|(_, row)| text(row, "reason") == UNSEEN) && seen.iter().all(is_true)
}

/// Holds an answer to what [`SENDFILE_BY_DEVICE`] says.
pub fn assert_sendfile_differs_by_device(answer: &Value) {
    for (row, copies, verdict) in SENDFILE_BY_DEVICE {
        for cache in ["cold", "warm"] {
            let case = case(answer, row, cache);
            assert_eq!(
                case["measured"]["cpu_copies"].as_f64(),
                Some(f64::from(copies)),
                "{row} {cache}: {case}"
            );
            let [seen] = array(&case["measured"], "seen") else { panic!("{row} {cache}: {case}") };
            let said = (text(seen, "verdict"), text(seen, "evidence"));
            assert_eq!(said, (verdict, "witnessed"), "{row} {cache}");
        }
    }
}
