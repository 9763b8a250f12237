//! The systemd unit that a cgroup belongs to.

/// What units are called that have cgroups of their own. Slices hold units and are none that anybody starts.
const SUFFIXES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// The unit in the path of a cgroup, the innermost one of the system's manager: `nginx.service`. A user's own units are below
/// `user@UID.service`, which is then not the one.
pub fn of_cgroup(path: &str) -> Option<&str> {
    path.split('/').rfind(|component| is_unit(component))
}

fn is_unit(component: &str) -> bool {
    SUFFIXES.iter().any(|suffix| component.len() > suffix.len() && component.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_unit_is_the_one() {
        for (path, unit) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope", Some("app-x.scope")),
            ("/user.slice/user-1000.slice/session-2.scope", Some("session-2.scope")),
            ("/system.slice/nginx.service/workers", Some("nginx.service")),
            ("/init.scope", Some("init.scope")),
            ("/system.slice", None),
            ("/", None),
            ("/.service", None),
            ("/docker/0123", None),
        ] {
            assert_eq!(of_cgroup(path), unit, "{path}");
        }
    }
}
