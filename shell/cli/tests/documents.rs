//! Every configuration that the repository shows is one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slim_config::{
    ClientConfig, ConfigError, Loaded, NodeConfig, RuntimeConfig, ServerConfig, Sources, TracingConfig,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a folder with one of these endings, by name.
fn files(folder: &str, ending: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a text file");
            (path.display().to_string(), text)
        })
        .collect()
}

/// With variables and files that are always there.
fn load(text: &str) -> Result<Loaded<NodeConfig>, ConfigError> {
    let names = ["SLIM_PASSWORD", "SLIM_PROXY_PASSWORD"];
    let variables = names
        .iter()
        .map(|name| ((*name).to_owned(), "secret".to_owned()))
        .collect();
    NodeConfig::load(
        text,
        &Sources {
            variables: &variables,
            read_file: &|_| Ok("secret".to_owned()),
        },
    )
}

/// The YAML blocks of a page that are whole files.
fn blocks(page: &str) -> Vec<String> {
    page.split("```yaml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_file_of_the_folder_config_loads_and_only_the_tutorials_is_old() {
    let files = files("config", "yaml");
    assert!(files.len() >= 4, "{files:?}");
    for (name, text) in files {
        let loaded = load(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_old = name.ends_with("tutorial.yaml");
        assert_eq!(
            loaded.warnings.len(),
            usize::from(is_old),
            "{name}: {:?}",
            loaded.warnings
        );
        // What is shown for it is a configuration again.
        let normal = loaded.config.to_normal_yaml();
        NodeConfig::from_yaml_text(&normal).unwrap_or_else(|error| panic!("{name}: {error}\n{normal}"));
    }
}

#[test]
fn s_15_every_yaml_block_of_every_page_loads_and_the_commented_keys_exist() {
    let mut pages = files("docs", "md");
    pages.extend(files(".", "md"));
    let mut count = 0;
    for (name, page) in pages {
        for block in blocks(&page) {
            count += 1;
            load(&block).unwrap_or_else(|error| panic!("{name}: {error}\n{block}"));
            // `# key: value` is a key that can be switched on; a comment in prose has no colon after one word.
            let switched_on: Vec<String> = block
                .lines()
                .map(|line| match line.trim_start().strip_prefix("# ") {
                    Some(rest) if rest.split_once(": ").is_some_and(|(key, _)| !key.contains(' ')) => {
                        line.replacen("# ", "", 1)
                    }
                    _ => line.to_owned(),
                })
                .collect();
            let switched_on = switched_on.join("\n");
            load(&switched_on).unwrap_or_else(|error| panic!("{name}: {error}\n{switched_on}"));
        }
    }
    assert!(count >= 4, "{count} blocks");
}

#[test]
fn s_15_the_documented_defaults_are_the_real_ones() {
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let loaded = NodeConfig::from_yaml_text(&blocks(&page)[0]).unwrap();
    assert!(loaded.warnings.is_empty());
    let endpoint = || "127.0.0.1:46357".parse().unwrap();
    let config = loaded.config;
    assert_eq!(config.tracing, TracingConfig::default());
    assert_eq!(config.runtime, RuntimeConfig::default());
    assert_eq!(config.services[0].servers, [ServerConfig::insecure(endpoint())]);
    assert_eq!(config.services[0].clients, [ClientConfig::insecure(endpoint())]);
    assert_eq!(config.services[0].authorization, None);
}
