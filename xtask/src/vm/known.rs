//! What cannot pass on a kernel, with the reason, so that it is shown and not hidden.

use super::results::Case;

/// A case that fails on some kernels for a reason that zc cannot mend.
struct Known {
    /// Versions older than this one.
    before: (u32, u32),
    part: &'static str,
    name: &'static str,
    reason: &'static str,
}

const KNOWN: &[Known] = &[Known {
    before: (6, 4),
    part: "check",
    name: "io_uring_submit_req",
    reason: "the tracepoint came with Linux 6.4",
}];

/// Why the case cannot pass on a kernel of this version.
pub(super) fn reason(version: &str, case: &Case) -> Option<&'static str> {
    let number = number(version)?;
    let known = KNOWN
        .iter()
        .find(|known| known.part == case.part && known.name == case.name && number < known.before);
    known.map(|known| known.reason)
}

/// `(6, 12)` of `6.12.117+deb12`.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_holds_for_older_kernels_only() {
        let case = Case { part: "check".to_owned(), name: "io_uring_submit_req".to_owned() };
        assert!(reason("6.1.0-56", &case).is_some());
        assert!(reason("6.12.117+deb12", &case).is_none());
        let other = Case { name: "sys_exit".to_owned(), ..case };
        assert!(reason("6.1.0-56", &other).is_none());
    }
}
