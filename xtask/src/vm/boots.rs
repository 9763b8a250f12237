//! What machines run. The tests of a kernel are spread over several of them, as an emulated machine has one processor.

use std::{fmt::Write as _, path::PathBuf};

use super::results::{BEGIN, CHECK};

/// What one machine does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boot {
    /// Names the directory with its image and with what it says.
    pub(super) name: &'static str,
    /// Whether it says which hooks there are, and what the kernel makes of the programs.
    pub(super) checks: bool,
    /// The test programs that it runs.
    pub(super) tests: &'static [&'static str],
    /// Whether it has network devices.
    pub(super) has_network: bool,
}

/// All that is tested of a kernel. About as long as each other.
pub(super) const BOOTS: [Boot; 2] = [
    Boot { name: "calls", checks: true, tests: &["exact", "guest_daemon"], has_network: false },
    Boot { name: "wire", checks: false, tests: &["bait", "guest", "guest_lab"], has_network: true },
];

/// What the kernel makes of the programs, and nothing else.
pub(super) const PROGRAMS: Boot = Boot { name: "programs", checks: true, tests: &[], has_network: false };

impl Boot {
    /// The script of the machine, which says where each part begins. `only` picks tests by name.
    pub(super) fn job(&self, tests: &[PathBuf], only: Option<&str>) -> String {
        let filter = only.map(|name| format!(" '{name}'")).unwrap_or_default();
        let mut job = String::new();
        if self.checks {
            let _ = writeln!(job, "echo '{BEGIN}{CHECK}'\n\"$ZC_BIN\" check --verbose 2>&1 | cat");
        }
        for (name, program) in self.tests.iter().zip(tests) {
            let program = program.display();
            let _ = writeln!(
                job,
                "echo '{BEGIN}{name}'\n'{program}' --test-threads=1 --show-output{filter} 2>&1"
            );
        }
        job
    }

    /// The parts that must have cases when nothing was picked: a machine that runs nothing has shown nothing.
    pub(super) fn parts(&self, only: Option<&str>) -> Vec<&'static str> {
        let tests = if only.is_none() { self.tests } else { &[] };
        self.checks.then_some(CHECK).into_iter().chain(tests.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_says_where_each_part_begins() {
        let job = BOOTS[0].job(&[PathBuf::from("/t/exact-1")], Some("ring"));
        assert!(job.contains("echo 'zc-vm: begin check'"), "{job}");
        assert!(job.contains("'/t/exact-1' --test-threads=1 --show-output 'ring'"), "{job}");
    }

    #[test]
    fn one_machine_says_which_hooks_there_are() {
        assert_eq!(BOOTS.iter().filter(|boot| boot.checks).count(), 1);
        assert_eq!(BOOTS[0].parts(None), ["check", "exact", "guest_daemon"]);
        assert_eq!(BOOTS[0].parts(Some("ring")), ["check"]);
        assert_eq!(BOOTS[1].parts(Some("ring")), Vec::<&str>::new());
    }
}
