use proptest::prelude::*;

use zc_common::path::Tls;

use super::*;
use crate::model::report::Verdict;

const fn end(kind: Kind) -> EndKind {
    EndKind::plain(kind)
}
const FILE: EndKind = end(Kind::File);
const DIRECT: EndKind = EndKind { direct: true, ..FILE };

fn row(path: Path, (source, destination): (EndKind, EndKind), copied: u64, by_reference: u64) -> Inside {
    Inside { path, source, destination, bytes: 10, copied, by_reference, came_by_reference: false }
}

#[test]
fn copies_of_the_table() {
    use Path::{CopyFileRange, Sendfile, Splice, Tee, Vmsplice};
    let (unix, pipe, tcp, memory) = (end(Kind::Unix), end(Kind::Pipe), end(Kind::Tcp), end(Kind::Memory));
    let table = [
        // path, ends, seen copied and by reference; copied, by reference, unknown, verdict, reason
        (Sendfile, (FILE, FILE), (10, 0), (10, 0, 0), Verdict::Copied, Reason::RegularFile),
        (Sendfile, (DIRECT, FILE), (10, 10), (10, 0, 0), Verdict::Copied, Reason::RegularFile),
        (CopyFileRange, (FILE, FILE), (10, 0), (10, 0, 0), Verdict::Copied, Reason::RegularFile),
        (CopyFileRange, (FILE, FILE), (0, 10), (0, 10, 0), Verdict::ZeroCopy, Reason::Cloned),
        (CopyFileRange, (FILE, FILE), (4, 6), (4, 6, 0), Verdict::Mixed, Reason::RegularFile),
        (Splice, (pipe, FILE), (10, 0), (10, 0, 0), Verdict::Copied, Reason::RegularFile),
        (Vmsplice, (memory, FILE), (10, 0), (10, 0, 0), Verdict::Copied, Reason::RegularFile),
        (Tee, (pipe, FILE), (10, 0), (10, 0, 0), Verdict::Copied, Reason::RegularFile),
        // How it came into the pipe is not known.
        (Splice, (FILE, FILE), (10, 0), (10, 0, 10), Verdict::Unknown, Reason::Splice),
        (Splice, (tcp, FILE), (10, 0), (10, 0, 10), Verdict::Unknown, Reason::Splice),
        (Sendfile, (FILE, unix), (0, 10), (0, 10, 0), Verdict::ZeroCopy, Reason::PassedOn),
        (Splice, (pipe, unix), (0, 10), (0, 10, 0), Verdict::ZeroCopy, Reason::PassedOn),
        (Sendfile, (FILE, pipe), (0, 10), (0, 10, 0), Verdict::ZeroCopy, Reason::PassedOn),
        (Splice, (FILE, pipe), (0, 10), (0, 10, 0), Verdict::ZeroCopy, Reason::PassedOn),
        // Part of it was not seen.
        (Sendfile, (FILE, FILE), (4, 0), (4, 0, 6), Verdict::Unknown, Reason::Sendfile),
        (CopyFileRange, (FILE, FILE), (0, 4), (0, 4, 6), Verdict::Unknown, Reason::CopyFileRange),
        (Splice, (FILE, pipe), (0, 4), (0, 4, 6), Verdict::Unknown, Reason::Splice),
        (Splice, (pipe, FILE), (4, 0), (10, 0, 0), Verdict::Copied, Reason::RegularFile),
    ];
    for (path, ends, (copied, by_reference), known, verdict, reason) in table {
        let copies = row(path, ends, copied, by_reference).copies().expect("something was seen");
        let found = (copies.copied.unwrap_or(0), copies.by_reference.unwrap_or(0), copies.unknown);
        assert_eq!((found, copies.verdict(10), copies.reason), (known, verdict, reason), "{path:?} {ends:?}");
        assert_eq!(copies.evidence == Evidence::Witnessed, copied + by_reference >= 10, "{path:?} {ends:?}");
    }
}

#[test]
fn what_came_into_a_pipe_by_reference_is_known_when_it_leaves() {
    let came = |path, destination, copied, by_reference| {
        let inside = row(path, (FILE, destination), copied, by_reference);
        Inside { came_by_reference: true, ..inside }.copies().map(|copies| copies.verdict(10))
    };
    assert_eq!(came(Path::Splice, FILE, 10, 0), Some(Verdict::Copied));
    assert_eq!(came(Path::Splice, end(Kind::Unix), 0, 10), Some(Verdict::ZeroCopy));
    let unknown = row(Path::Splice, (FILE, end(Kind::Unix)), 0, 10);
    assert_eq!(unknown.copies(), None);
}

#[test]
fn numbers_that_are_about_something_else_say_nothing() {
    let (unix, pipe, tcp) = (end(Kind::Unix), end(Kind::Pipe), end(Kind::Tcp));
    for (path, ends) in [
        (Path::Sendfile, (DIRECT, unix)),
        (Path::Sendfile, (DIRECT, pipe)),
        (Path::Sendfile, (FILE, tcp)),
        (Path::Splice, (tcp, pipe)),
        (Path::Splice, (pipe, pipe)),
        (Path::Sendfile, (FILE, FILE)),
    ] {
        assert_eq!(row(path, ends, 0, 10).copies(), None, "{path:?} {ends:?}");
    }
}

#[test]
fn every_hook_is_one_on_a_function() {
    use crate::probe::hook::{self, Method};
    let functions = hook::HOOKS.iter().filter(|hook| hook.method == Method::Fexit);
    assert_eq!(functions.map(|hook| hook.name).collect::<Vec<_>>(), HOOKS);
}

fn kind() -> impl Strategy<Value = EndKind> {
    (0_u8..10, any::<bool>()).prop_map(|(kind, direct)| {
        let kind = Kind::from_u8(kind).unwrap_or(Kind::Unknown);
        EndKind::new(kind, direct, Tls::None)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_is_copied_by_reference_or_unknown(
        path in prop::sample::select(vec![
            Path::Sendfile, Path::CopyFileRange, Path::Splice, Path::Tee, Path::Vmsplice,
        ]),
        source in kind(),
        destination in kind(),
        bytes in 1_u64..100,
        copied in 0_u64..120,
        by_reference in 0_u64..120,
        came_by_reference: bool,
    ) {
        let inside = Inside { path, source, destination, bytes, copied, by_reference, came_by_reference };
        if let Some(copies) = inside.copies() {
            let (is_copied, is_handed) = (copies.copied.unwrap_or(0), copies.by_reference.unwrap_or(0));
            prop_assert!(is_handed <= bytes && copies.unknown <= bytes);
            prop_assert!(is_copied + is_handed + copies.unknown >= bytes);
            prop_assert!(is_copied + is_handed <= bytes);
            if copies.verdict(bytes) == Verdict::ZeroCopy {
                prop_assert!(copied == 0 || destination.kind != Kind::File);
                prop_assert!(by_reference >= bytes);
            }
        }
    }
}
