//! The container that a cgroup belongs to, from the name that its runtime gave the cgroup.
//!
//! Docker, containerd (CRI, nerdctl), CRI-O and Podman name it after the container's id, 64 hexadecimal
//! digits, alone or with a prefix, as a directory or as a systemd scope. LXC uses the container's name.

/// Prefixes of scopes that hold a container's processes.
const PREFIXES: [&str; 5] = ["docker-", "cri-containerd-", "nerdctl-", "crio-", "libpod-"];
const ID_DIGITS: usize = 64;

/// The innermost container in the path of a cgroup: its id, or its name with LXC.
pub fn of_cgroup(path: &str) -> Option<&str> {
    let mut found = None;
    let mut parent = "";
    for component in path.split('/') {
        found = of_component(component, parent).or(found);
        parent = component;
    }
    found
}

fn of_component<'a>(component: &'a str, parent: &str) -> Option<&'a str> {
    if let Some(name) = component.strip_prefix("lxc.payload.") {
        return Some(name).filter(|name| !name.is_empty());
    }
    if parent == "lxc" && !component.is_empty() {
        return Some(component);
    }
    let unit = component.strip_suffix(".scope").unwrap_or(component);
    let id = PREFIXES.iter().find_map(|prefix| unit.strip_prefix(prefix)).unwrap_or(unit);
    (id.len() == ID_DIGITS && id.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn runtimes_name_cgroups_after_their_containers() {
        for path in [
            "/docker/ID",
            "/system.slice/docker-ID.scope",
            "/system.slice/docker-ID.scope/init.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-ID.scope",
            "/kubepods/burstable/pod0a1b2c3d/ID",
            "/kubepods.slice/kubepods-pod3.slice/crio-ID.scope/container",
            "/machine.slice/libpod-ID.scope/container",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "/libpod_parent/libpod-ID",
            "/system.slice/nerdctl-ID.scope",
            "/ecs/0a1b/ID",
        ] {
            assert_eq!(of_cgroup(&path.replace("ID", ID)), Some(ID), "{path}");
        }
        assert_eq!(of_cgroup("/lxc.payload.web1/system.slice/nginx.service"), Some("web1"));
        assert_eq!(of_cgroup("/lxc/web1/init.scope"), Some("web1"));
    }

    #[test]
    fn the_innermost_container_is_the_one() {
        let outer = "f".repeat(64);
        assert_eq!(of_cgroup(&format!("/docker/{outer}/docker/{ID}")), Some(ID));
        assert_eq!(of_cgroup(&format!("/lxc.payload.web1/docker/{ID}")), Some(ID));
    }

    #[test]
    fn what_is_no_container_has_none() {
        for path in [
            "/",
            "",
            "/system.slice/nginx.service",
            "/user.slice/user-0.slice/session-1.scope",
            "/lxc.monitor.web1",
            "/lxc.payload.",
            "/docker/buildx",
            "/system.slice/docker.service",
        ] {
            assert_eq!(of_cgroup(path), None, "{path}");
        }
        assert_eq!(of_cgroup(&format!("/machine.slice/libpod-conmon-{ID}.scope")), None);
        assert_eq!(of_cgroup(&format!("/machine.slice/crio-conmon-{ID}.scope")), None);
        assert_eq!(of_cgroup(&format!("/docker/{ID}0")), None);
    }
}
