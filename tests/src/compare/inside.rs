//! What must be said of bytes that do not go through user memory: witnessed where functions inside the kernel can be seen,
//! else what can be inferred.

use crate::{
    expect::{Expectation, Kind},
    report::{Report, Row},
};

/// How much is seen of what happens inside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// Nothing: functions cannot be attached to.
    Nothing,
    /// All calls of which it is known in which order they were.
    Alone,
    /// The same, but threads use one pipe at the same time: one way or the other.
    Together,
}

/// Without these, something is missing that the rules here rely on; each in one of its forms.
const HOOKS: [[&str; 2]; 3] = [
    ["generic_perform_write", "generic_perform_write"],
    ["filemap_splice_read", "filemap_read"],
    ["skb_splice_from_iter", "skb_append_pagefrags"],
];

impl Inside {
    pub(super) fn of(report: &Report, expected: &Expectation) -> Self {
        let is_attached =
            |name: &str| report.hooks.iter().any(|hook| hook.name == name && hook.status == "attached");
        match HOOKS.iter().all(|forms| forms.iter().any(|name| is_attached(name))) {
            false => Self::Nothing,
            true if expected.threads == 0 => Self::Alone,
            true => Self::Together,
        }
    }
}

/// What a row says: copied, by reference, unknown, verdict, evidence.
type Said<'r> = (u64, u64, u64, &'r str, &'r str);

/// Whether the rules here are about this row: bytes of files, pipes, Unix sockets and memory, which no device is given.
pub(super) fn rules(row: &Row) -> bool {
    let in_kernel =
        matches!(row.path.as_str(), "sendfile" | "copy_file_range" | "splice" | "tee" | "vmsplice");
    let plain = |kind| !matches!(kind, Kind::Tty | Kind::Device | Kind::Other | Kind::Unknown);
    in_kernel && row.bytes != 0 && row.destination != Kind::Tcp && plain(row.source) && plain(row.destination)
}

/// What is wrong about such a row.
pub(super) fn differences(row: &Row, sees: Inside) -> Option<String> {
    let said = (
        row.cpu_copied_bytes.unwrap_or(0),
        row.by_reference_bytes.unwrap_or(0),
        row.unknown_bytes.unwrap_or(0),
        row.verdict.as_str(),
        row.evidence.as_str(),
    );
    let (seen, inferred) = (seen(row), inferred(row));
    let sees = if sees == Inside::Alone && row.via != "syscall" { Inside::Together } else { sees };
    // How bytes of sockets came into the pipe, is seen elsewhere, or not.
    let is_received = matches!(row.source, Kind::Tcp | Kind::Unix) && row.destination == Kind::File;
    let allowed = match sees {
        Inside::Nothing => vec![inferred],
        Inside::Alone if is_received => vec![seen, (row.bytes, 0, row.bytes, "unknown", "witnessed")],
        Inside::Alone => vec![seen],
        Inside::Together => vec![seen, inferred],
    };
    // Of several threads, part may be seen in one way and the rest in the other.
    let (copied, by_reference, _, verdict, _) = said;
    let is_between = sees == Inside::Together
        && (verdict == "unknown" || verdict == seen.3)
        && copied <= seen.0
        && by_reference <= seen.1;
    (!allowed.contains(&said) && !is_between).then(|| format!("{said:?} should be one of {allowed:?}"))
}

/// What is said of a row of which all calls were seen.
fn seen(row: &Row) -> Said<'static> {
    let all = row.bytes;
    let (copied, by_reference) = ((all, 0, 0, "copied", "witnessed"), (0, all, 0, "zero-copy", "witnessed"));
    let is_spliced = matches!(row.path.as_str(), "splice" | "tee" | "vmsplice");
    match (row.source, row.destination) {
        (Kind::File, Kind::File) => copied,
        (_, Kind::File) if is_spliced => copied,
        (Kind::File, Kind::Unix) => by_reference,
        (Kind::Pipe | Kind::Memory, Kind::Unix) if is_spliced => by_reference,
        (Kind::File, Kind::Pipe) if matches!(row.path.as_str(), "sendfile" | "splice") => by_reference,
        _ => inferred(row),
    }
}

/// What can be inferred of it.
fn inferred(row: &Row) -> Said<'static> {
    let all = row.bytes;
    match (row.path.as_str(), row.source, row.destination) {
        ("vmsplice", _, Kind::Memory) => (all, 0, 0, "copied", "inferred"),
        ("splice" | "tee" | "vmsplice", Kind::Pipe | Kind::Memory, Kind::File) => {
            (all, 0, 0, "copied", "inferred")
        }
        ("splice" | "tee" | "vmsplice", _, Kind::File) => (all, 0, all, "unknown", "inferred"),
        _ => (0, 0, all, "unknown", "inferred"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(path: &str, ends: (&str, &str), said: (u64, u64, u64), verdict: &str, evidence: &str) -> Row {
        let (copied, by_reference, unknown) = said;
        serde_json::from_value(json!({
            "path": path, "via": "syscall", "source": ends.0, "destination": ends.1, "bytes": 10,
            "transfers": 1, "syscalls": 1, "mode_switches": 2,
            "cpu_copied_bytes": copied, "by_reference_bytes": by_reference, "unknown_bytes": unknown,
            "device_read_bytes": 0, "device_sent_bytes": null,
            "context_switches": {"voluntary": 0, "involuntary": 0},
            "page_faults": {"minor": 0, "major": 0, "copy_on_write": null},
            "seconds": null, "verdict": verdict, "evidence": evidence, "reason": null,
            "rchar_bytes": 0, "wchar_bytes": 0
        }))
        .expect("a row")
    }

    #[test]
    fn what_is_seen_must_be_said_and_nothing_else() {
        let copied = row("sendfile", ("file", "file"), (10, 0, 0), "copied", "witnessed");
        let unknown = row("sendfile", ("file", "file"), (0, 0, 10), "unknown", "inferred");
        let handed = row("splice", ("file", "pipe"), (0, 10, 0), "zero-copy", "witnessed");
        for (row, alone, together, nothing) in
            [(&copied, true, true, false), (&unknown, false, true, true), (&handed, true, true, false)]
        {
            for (sees, holds) in
                [(Inside::Alone, alone), (Inside::Together, together), (Inside::Nothing, nothing)]
            {
                assert_eq!(differences(row, sees).is_none(), holds, "{row:?} {sees:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_wrong_however_much_is_seen() {
        for wrong in [
            row("sendfile", ("file", "file"), (0, 10, 0), "zero-copy", "witnessed"),
            row("sendfile", ("file", "file"), (20, 0, 0), "copied", "witnessed"),
            row("splice", ("pipe", "file"), (0, 10, 0), "zero-copy", "witnessed"),
            row("sendfile", ("file", "unix"), (10, 0, 0), "copied", "witnessed"),
            row("splice", ("pipe", "pipe"), (0, 10, 0), "zero-copy", "witnessed"),
        ] {
            for sees in [Inside::Alone, Inside::Together, Inside::Nothing] {
                assert!(differences(&wrong, sees).is_some(), "{wrong:?} {sees:?}");
            }
        }
    }

    #[test]
    fn rows_that_leave_by_a_device_or_go_through_memory_have_other_rules() {
        for (path, ends) in
            [("sendfile", ("file", "tcp")), ("read", ("file", "memory")), ("splice", ("tty", "pipe"))]
        {
            assert!(!rules(&row(path, ends, (0, 0, 10), "unknown", "inferred")), "{path}");
        }
    }
}
