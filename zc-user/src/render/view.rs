//! What is decided before anything is shown: order, and the characters that may be used.

use std::cmp::Reverse;

use crate::model::report::Process;

/// Order of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Most bytes moved first.
    #[default]
    Bytes,
    /// Most bytes copied by the processor first.
    Copied,
    /// Most system calls first.
    Calls,
    /// Lowest process id first.
    Pid,
}

/// Sorts; what is equal stays in the order in which it started.
pub fn sort(processes: &mut [Process], order: Sort) {
    processes.sort_by_key(|process| (process.start_ns, process.pid));
    match order {
        Sort::Bytes => processes.sort_by_key(|process| Reverse(process.bytes())),
        Sort::Copied => processes.sort_by_key(|process| Reverse(process.cpu_copied_bytes())),
        Sort::Calls => processes.sort_by_key(|process| Reverse(process.calls())),
        Sort::Pid => processes.sort_by_key(|process| process.pid),
    }
}

/// Whether the locale asks for ASCII: it is set, and not to UTF-8. `variable` looks up the environment.
pub fn is_ascii_locale(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides_on_ascii() {
        let table: [(&[(&str, &str)], bool); 6] = [
            (&[], false),
            (&[("LANG", "C")], true),
            (&[("LANG", "C.UTF-8")], false),
            (&[("LANG", "de_DE.utf8"), ("LC_ALL", "POSIX")], true),
            (&[("LANG", "C"), ("LC_CTYPE", "en_US.UTF-8"), ("LC_ALL", "")], false),
            (&[("LANG", "de_DE@euro")], true),
        ];
        for (environment, expected) in table {
            let lookup = |name: &str| {
                environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(is_ascii_locale(lookup), expected, "{environment:?}");
        }
    }
}
