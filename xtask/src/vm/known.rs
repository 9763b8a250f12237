//! What cannot pass on a kernel, with the reason, so that it is shown and not hidden.

use super::results::Case;
use crate::verifier;

/// A case that fails on some kernels for a reason that zc cannot mend.
struct Known {
    /// Versions older than this one.
    before: (u32, u32),
    part: &'static str,
    name: &'static str,
    reason: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        before: (6, 12),
        part: "check",
        name: "mm_filemap_map_pages",
        reason: "the tracepoint came with Linux 6.12",
    },
    Known {
        before: (6, 7),
        part: "exact",
        name: "requests_that_go_on_are_counted_each_time",
        reason: "the fixture needs `IORING_OP_READ_MULTISHOT`, which came with Linux 6.7",
    },
];

/// Why the case cannot pass on a kernel of this version.
pub(super) fn reason(version: &str, case: &Case) -> Option<&'static str> {
    let series = verifier::series(version)?;
    let known = KNOWN
        .iter()
        .find(|known| known.part == case.part && known.name == case.name && series < known.before);
    known.map(|known| known.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_holds_for_older_kernels_only() {
        let name = "requests_that_go_on_are_counted_each_time";
        let case = Case { part: "exact".to_owned(), name: name.to_owned() };
        assert!(reason("6.1.0-56", &case).is_some());
        assert!(reason("6.12.117+deb12", &case).is_none());
        let other = Case { part: "check".to_owned(), ..case };
        assert!(reason("6.1.0-56", &other).is_none());
    }
}
