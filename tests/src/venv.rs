//! Packages of Python that Debian does not have, in environments of the target's own.

use crate::{
    job::Job,
    machine::{self, python, require_cmd, require_python, target_tmp},
};

/// A Python that has this package, `name==version`; installed on first use. `None`, with the reason printed, when it
/// cannot be installed.
pub fn python_with(requirement: &str, module: &str) -> Option<String> {
    let name = requirement.split('=').next().unwrap_or(requirement);
    let dir = target_tmp().join(format!("{name}-venv"));
    let path = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    let own = path("bin/python");
    let has_it = || {
        let import = format!(
            "import {module}; from importlib.metadata import version; \
             assert '{name}==' + version('{name}') == '{requirement}'"
        );
        dir.join("bin/python").exists() && Job::new(&[&own, "-c", &import]).finish().status.success()
    };
    if has_it() {
        return Some(own);
    }
    if !require_cmd("python3") || !require_python("import ensurepip") {
        return None;
    }
    Job::new(&[python(), "-m", "venv", "--clear", &path("")]).finish();
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement];
    let done = Job::new(&[&[own.as_str()], &pip[..]].concat()).finish();
    if done.status.success() && has_it() {
        return Some(own);
    }
    machine::missing(&format!("{requirement} cannot be installed: {}", done.stderr));
    None
}
