//! Which processes the daemon accounts for.

use std::collections::BTreeSet;

use nix::unistd::User;
use serde::{Deserialize, Serialize};

use crate::resolve::{container, unit};

/// The choice, as it is written in the configuration and in requests. A process is chosen when any entry of any list is true of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Every process of the machine, but for zc itself and the kernel's own threads.
    pub all: bool,
    /// Process ids.
    pub pids: BTreeSet<u32>,
    /// Command names (`/proc/PID/comm`), whole.
    pub comms: BTreeSet<String>,
    /// Users that processes run as, by name or number.
    pub users: BTreeSet<String>,
    /// Cgroups of the hierarchy version 2, by path, with all below them.
    pub cgroups: BTreeSet<String>,
    /// systemd units: `nginx.service`; the suffix may be left out.
    pub units: BTreeSet<String>,
    /// Containers, by id, its first 12 or more digits, or by name where the cgroup has it.
    pub containers: BTreeSet<String>,
}

/// Why a choice means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// There is no such user.
    #[error("there is no user {0:?}; write a name that `getent passwd` knows, or a number")]
    NoUser(String),
    /// Cgroups are named from the root of their hierarchy.
    #[error("cgroup {0:?} is no path that begins with /; write it as in /proc/PID/cgroup behind `0::`")]
    NoPath(String),
    /// Nothing can have this name.
    #[error("{list} has an empty name in it")]
    Empty {
        /// Which list.
        list: &'static str,
    },
    /// Command names are at most 15 bytes long.
    #[error("comm {0:?} is longer than the 15 bytes that the kernel keeps; write it as in /proc/PID/comm")]
    LongComm(String),
    /// Too few to tell containers apart.
    #[error("container {0:?} is too short: write its id, at least the first {MIN_ID} digits, or its name")]
    ShortId(String),
    /// More names than anybody would write.
    #[error("more than {MAX_NAMES} names in {list}; choose a cgroup, a user or all")]
    TooMany {
        /// Which list.
        list: &'static str,
    },
}

/// Digits of a container's id that are enough, as runtimes show them.
const MIN_ID: usize = 12;
/// `TASK_COMM_LEN` without the NUL.
const MAX_COMM: usize = 15;
/// Names in a list.
const MAX_NAMES: usize = 4096;

/// A process that may be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub pid: u32,
    /// Its command name.
    pub comm: String,
    /// The user that it runs as (the real one).
    pub uid: u32,
    /// Its cgroup of the hierarchy version 2, as far as it is in sight.
    pub cgroup: Option<String>,
}

/// A choice that was found to mean something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    selection: Selection,
    uids: BTreeSet<u32>,
}

impl Selection {
    /// Nothing is chosen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks it, and looks up its users.
    pub fn matcher(&self) -> Result<Matcher, SelectError> {
        for (list, names) in [
            ("comms", &self.comms),
            ("users", &self.users),
            ("cgroups", &self.cgroups),
            ("units", &self.units),
            ("containers", &self.containers),
        ] {
            if names.contains("") {
                return Err(SelectError::Empty { list });
            }
            if names.len() > MAX_NAMES {
                return Err(SelectError::TooMany { list });
            }
        }
        if self.pids.len() > MAX_NAMES {
            return Err(SelectError::TooMany { list: "pids" });
        }
        if let Some(comm) = self.comms.iter().find(|comm| comm.len() > MAX_COMM) {
            return Err(SelectError::LongComm(comm.clone()));
        }
        if let Some(path) = self.cgroups.iter().find(|path| !path.starts_with('/')) {
            return Err(SelectError::NoPath(path.clone()));
        }
        let is_short_id =
            |name: &&String| name.len() < MIN_ID && name.bytes().all(|digit| digit.is_ascii_hexdigit());
        if let Some(id) = self.containers.iter().find(is_short_id) {
            return Err(SelectError::ShortId(id.clone()));
        }
        let uids = self.users.iter().map(|user| uid_of(user)).collect::<Result<_, _>>()?;
        Ok(Matcher { selection: self.clone(), uids })
    }
}

fn uid_of(user: &str) -> Result<u32, SelectError> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    let known = User::from_name(user).ok().flatten();
    known.map(|user| user.uid.as_raw()).ok_or_else(|| SelectError::NoUser(user.to_owned()))
}

impl Matcher {
    /// What it was made from.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Whether a process is chosen.
    pub fn matches(&self, process: &Candidate) -> bool {
        let Selection { all, pids, comms, cgroups, units, containers, users: _ } = &self.selection;
        let cgroup = process.cgroup.as_deref();
        *all || pids.contains(&process.pid)
            || comms.contains(&process.comm)
            || self.uids.contains(&process.uid)
            || cgroup.is_some_and(|path| {
                cgroups.iter().any(|top| is_within(path, top))
                    || unit::of_cgroup(path).is_some_and(|unit| is_among(unit, units))
                    || container::of_cgroup(path).is_some_and(|id| {
                        containers.contains(id)
                            || containers
                                .iter()
                                .any(|start| start.len() >= MIN_ID && id.starts_with(start.as_str()))
                    })
            })
    }
}

/// Whether a cgroup is another one, or below it.
fn is_within(path: &str, top: &str) -> bool {
    let top = top.trim_end_matches('/');
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_among(unit: &str, units: &BTreeSet<String>) -> bool {
    units.contains(unit) || unit.rsplit_once('.').is_some_and(|(name, _)| units.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn process() -> Candidate {
        Candidate {
            pid: 7,
            comm: "nginx".to_owned(),
            uid: 33,
            cgroup: Some(format!("/system.slice/nginx.service/docker-{ID}.scope")),
        }
    }

    fn set(name: &str) -> BTreeSet<String> {
        BTreeSet::from([name.to_owned()])
    }

    fn chosen_by(selection: &Selection) -> bool {
        selection.matcher().expect("a choice").matches(&process())
    }

    #[test]
    fn a_process_is_chosen_by_any_of_its_names() {
        let none = Selection::default();
        assert!(none.is_empty() && !chosen_by(&none));
        assert!(chosen_by(&Selection { all: true, ..none.clone() }));
        for (pid, is) in [(7, true), (8, false)] {
            assert_eq!(chosen_by(&Selection { pids: BTreeSet::from([pid]), ..none.clone() }), is);
        }
        for (comm, is) in [("nginx", true), ("ngin", false)] {
            assert_eq!(chosen_by(&Selection { comms: set(comm), ..none.clone() }), is);
        }
        for (user, is) in [("33", true), ("root", false)] {
            assert_eq!(chosen_by(&Selection { users: set(user), ..none.clone() }), is);
        }
        for (path, is) in [("/", true), ("/system.slice/", true), ("/system.slice", true), ("/system", false)]
        {
            assert_eq!(chosen_by(&Selection { cgroups: set(path), ..none.clone() }), is, "{path}");
        }
        for (id, is) in [(ID, true), (&ID[..12], true), (&ID[1..20], false)] {
            assert_eq!(chosen_by(&Selection { containers: set(id), ..none.clone() }), is, "{id}");
        }
    }

    #[test]
    fn units_go_with_or_without_their_suffix() {
        let process = Candidate { cgroup: Some("/system.slice/nginx.service".to_owned()), ..process() };
        for (unit, is) in [("nginx.service", true), ("nginx", true), ("ngin", false), ("system.slice", false)]
        {
            let selection = Selection { units: set(unit), ..Selection::default() };
            assert_eq!(selection.matcher().expect("a choice").matches(&process), is, "{unit}");
        }
    }

    #[test]
    fn a_choice_that_means_nothing_is_refused() {
        let none = Selection::default();
        let refused = |selection: Selection| selection.matcher().expect_err("a refusal").to_string();
        assert!(refused(Selection { users: set("no such user"), ..none.clone() }).contains("getent"));
        assert!(
            refused(Selection { cgroups: set("system.slice"), ..none.clone() }).contains("begins with /")
        );
        assert!(refused(Selection { comms: set(""), ..none.clone() }).contains("empty"));
        assert!(refused(Selection { comms: set("sixteen bytes ..."), ..none.clone() }).contains("15 bytes"));
        assert!(refused(Selection { containers: set("0123"), ..none.clone() }).contains("too short"));
        let many = (0..5000).map(|number| number.to_string()).collect();
        assert!(refused(Selection { units: many, ..none }).contains("more than"));
    }
}
