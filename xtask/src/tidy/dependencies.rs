//! Who may depend on whom: the layers of ARCHITECTURE.md ("Crates") and the third parties of `core/`.

use super::Finding;
use crate::workspace::Package;

/// A crate and the crates of this workspace that it may use.
///
/// A crate that is not listed is refused: adding one means deciding its layer here.
const LAYERS: [(&str, &[&str]); 23] = [
    ("slim-proto", &[]),
    ("slim-crypto", &[]),
    ("slim-config", &["slim-policy"]),
    ("slim-auth", &["slim-proto", "slim-crypto"]),
    ("slim-policy", &["slim-proto"]),
    ("slim-older", &["slim-proto"]),
    ("slim-rpc", &["slim-proto", "slim-crypto"]),
    ("slim-router", &["slim-proto", "slim-crypto", "slim-policy"]),
    ("slim-mls", &["slim-proto", "slim-crypto", "slim-auth"]),
    (
        "slim-session",
        &["slim-proto", "slim-crypto", "slim-auth", "slim-mls"],
    ),
    ("slim-http", &["slim-proto"]),
    (
        "slim-spiffe",
        &["slim-proto", "slim-crypto", "slim-auth", "slim-config"],
    ),
    // Its tests' agent.
    ("slim-spiffe-agent", &["slim-proto", "slim-crypto", "slim-auth"]),
    (
        "slim-net",
        &[
            "slim-proto",
            "slim-crypto",
            "slim-auth",
            "slim-http",
            "slim-router",
            "slim-policy",
            "slim-config",
            "slim-spiffe",
        ],
    ),
    (
        "slim-node",
        &[
            "slim-proto",
            "slim-crypto",
            "slim-auth",
            "slim-older",
            "slim-router",
            "slim-policy",
            "slim-config",
            "slim-spiffe",
            "slim-http",
            "slim-net",
        ],
    ),
    (
        "slim",
        &[
            "slim-proto",
            "slim-crypto",
            "slim-auth",
            "slim-mls",
            "slim-rpc",
            "slim-router",
            "slim-policy",
            "slim-session",
            "slim-config",
            "slim-spiffe",
            "slim-http",
            "slim-net",
            "slim-node",
        ],
    ),
    // Reads .proto files and writes text; what it writes is compiled against `slim` in its tests.
    ("slim-rpcgen", &[]),
    ("slim-cli", &["slim", "slim-config", "slim-node", "slim-rpcgen"]),
    ("slim-python", &["slim", "slim-config"]),
    // Beside the layers: the simulator drives the core and never sees the shell.
    (
        "sim",
        &[
            "slim-proto",
            "slim-crypto",
            "slim-auth",
            "slim-mls",
            "slim-router",
            "slim-policy",
            "slim-session",
        ],
    ),
    // Drives a node from outside and compares it with bare forwarders.
    (
        "slim-bench",
        &[
            "slim-proto",
            "slim-crypto",
            "slim-router",
            "slim-config",
            "slim-net",
            "slim-node",
        ],
    ),
    // Knocks at every decoder, in the core and at the socket.
    (
        "slim-fuzz-targets",
        &[
            "slim-proto",
            "slim-crypto",
            "slim-auth",
            "slim-mls",
            "slim-older",
            "slim-rpc",
            "slim-router",
            "slim-session",
            "slim-config",
            "slim-net",
        ],
    ),
    ("xtask", &["slim-config"]),
];

/// Third parties that any core crate may use: plain data structures, encodings and macros.
const CORE_THIRD_PARTIES: [&str; 12] = [
    "base64",
    "bytes",
    "foldhash",
    "hashbrown",
    "rand_chacha",
    "rand_core",
    "serde",
    "serde_json",
    "slab",
    "thiserror",
    "tracing",
    "zeroize",
];

/// Third parties that exactly one core crate may use: it is the one door to them.
const CORE_DOORS: [(&str, &str); 8] = [
    ("aws-lc-rs", "slim-crypto"),
    ("cel", "slim-policy"),
    ("mls-rs", "slim-mls"),
    ("mls-rs-core", "slim-mls"),
    ("mls-rs-crypto-awslc", "slim-mls"),
    ("prost", "slim-proto"),
    ("serde-saphyr", "slim-config"),
    ("twox-hash", "slim-proto"),
];

/// Third parties of core tests.
const CORE_DEV_THIRD_PARTIES: [&str; 2] = ["insta", "proptest"];

/// Checks every crate against the tables above.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
        return vec![finding(
            package,
            "has no layer; add it to LAYERS in xtask/src/tidy/dependencies.rs".to_owned(),
        )];
    };
    let core = package.folder.starts_with("core/");
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        if dependency.ours {
            // Tests may look across a layer but never from the core into the shell.
            let ok = allowed.contains(&name) || (dependency.dev && (!core || is_core(name)));
            if !ok {
                findings.push(finding(
                    package,
                    format!("must not depend on {name}: it is not below it"),
                ));
            }
        } else if core {
            let door = CORE_DOORS.iter().find(|(door, _)| *door == name);
            let ok = match door {
                Some((_, owner)) => *owner == package.name || dependency.dev,
                None => {
                    CORE_THIRD_PARTIES.contains(&name)
                        || (dependency.dev && CORE_DEV_THIRD_PARTIES.contains(&name))
                }
            };
            if !ok {
                findings.push(finding(package, format!("core crates must not depend on {name}")));
            }
        }
    }
    findings
}

/// The core crates are those that the simulator may use, and `slim-config`.
fn is_core(name: &str) -> bool {
    name == "slim-config"
        || LAYERS
            .iter()
            .any(|(layer, allowed)| *layer == "sim" && allowed.contains(&name))
}

fn finding(package: &Package, rule: String) -> Finding {
    Finding {
        place: package.name.clone(),
        rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    #[test]
    fn a_crate_may_use_the_layers_below_it() {
        assert_eq!(
            check(&[package("slim-session", "core/session", &["slim-mls", "bytes"])]),
            []
        );
    }

    #[test]
    fn a_crate_must_not_use_a_layer_above_or_beside_it() {
        let findings = check(&[package("slim-router", "core/router", &["slim-session"])]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(check(&[package("sim", "sim", &["slim-net"])]).len(), 1);
    }

    #[test]
    fn the_core_takes_only_listed_third_parties_and_only_through_their_door() {
        for (name, folder, dependency) in [
            ("slim-router", "core/router", "tokio"),
            ("slim-session", "core/session", "aws-lc-rs"),
            ("slim-session", "core/session", "proptest"),
        ] {
            assert_eq!(
                check(&[package(name, folder, &[dependency])]).len(),
                1,
                "{dependency}"
            );
        }
        assert_eq!(check(&[package("slim-net", "shell/net", &["tokio"])]), []);
    }

    #[test]
    fn tests_of_the_core_may_use_other_core_crates_but_not_the_shell() {
        let mut tested = package("slim-mls", "core/mls", &["slim-router", "proptest"]);
        tested
            .dependencies
            .iter_mut()
            .for_each(|dependency| dependency.dev = true);
        assert_eq!(check(&[tested]), []);
        let mut tested = package("slim-mls", "core/mls", &["slim-node"]);
        tested
            .dependencies
            .iter_mut()
            .for_each(|dependency| dependency.dev = true);
        assert_eq!(check(&[tested]).len(), 1);
    }

    #[test]
    fn a_crate_without_a_layer_is_refused() {
        assert_eq!(check(&[package("slim-new", "core/new", &[])]).len(), 1);
    }

    fn package(name: &str, folder: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            folder: folder.to_owned(),
            dependencies: dependencies
                .iter()
                .map(|name| Dependency {
                    name: (*name).to_owned(),
                    ours: name.starts_with("slim"),
                    dev: false,
                })
                .collect(),
        }
    }
}
