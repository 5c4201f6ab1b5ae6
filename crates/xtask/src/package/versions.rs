//! The version, which several files name.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

/// The version on which `module.json`, `Cargo.toml` and `CHANGELOG.md` of the repository agree.
pub(crate) fn agreed(root: &Path) -> anyhow::Result<String> {
    let read = |name: &str| fs::read_to_string(root.join(name)).with_context(|| format!("{name} cannot be read"));
    let module: Value = serde_json::from_str(&read("module.json")?).context("module.json is not JSON")?;
    let version = module["version"].as_str().context("module.json has no version")?;
    let manifest = read("Cargo.toml")?;
    let cargo = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    ensure!(
        cargo == Some(version),
        "module.json says version {version} and Cargo.toml {}: make them agree",
        cargo.unwrap_or("nothing")
    );
    let heading = format!("## [{version}]");
    ensure!(read("CHANGELOG.md")?.contains(&heading), "CHANGELOG.md has no heading {heading:?}: write one");
    ensure!(is_free(&module["lic_product_id"]), "lic_product_id in module.json must be 0: the module is free");
    Ok(version.to_owned())
}

fn is_free(id: &Value) -> bool {
    *id == "0" || *id == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(module: &str, cargo: &str, changelog: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in [("module.json", module), ("Cargo.toml", cargo), ("CHANGELOG.md", changelog)] {
            fs::write(directory.path().join(name), text).expect("a file");
        }
        directory
    }

    const MODULE: &str = r#"{"version": "1.2.3", "lic_product_id": "0"}"#;
    const CARGO: &str = "[workspace.package]\nversion = \"1.2.3\"\n";

    #[test]
    fn files_that_agree_give_the_version() {
        let directory = repository(MODULE, CARGO, "## [1.2.3] - 2026-01-01");
        assert_eq!(agreed(directory.path()).expect("they agree"), "1.2.3");
    }

    #[test]
    fn files_that_disagree_are_named() {
        for (module, cargo, changelog, named) in [
            (MODULE, CARGO, "## [1.2.2]", "CHANGELOG.md"),
            (MODULE, "version = \"1.2.4\"\n", "## [1.2.3]", "Cargo.toml 1.2.4"),
            (r#"{"version": "1.2.3", "lic_product_id": "131"}"#, CARGO, "## [1.2.3]", "lic_product_id"),
            ("{}", CARGO, "## [1.2.3]", "module.json"),
        ] {
            let error = agreed(repository(module, cargo, changelog).path()).expect_err("they disagree").to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
