//! Rules about the repository itself: who may import whom, where `unsafe` may stand, which documents must be fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::build::built;
use crate::support::{root, run};
use regex::Regex;
use serde_json::Value;

/// Who may depend on whom among our own crates.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("module-ldap-sync", &["plugin-abi", "sync-core", "directory"]),
    ("plugin-abi", &[]),
    ("sync-core", &[]),
    ("directory", &["sync-core"]),
    ("pbx-host", &["plugin-abi"]),
    ("xtask", &[]),
];

/// This file names what it forbids.
const THIS_FILE: &str = "tests/module/tidy.rs";

/// Files that may hold `unsafe`: the C boundary, the loader of it, and the declarations they share.
const UNSAFE_FILES: &[&str] = &[
    "src/hooks.rs",
    "src/boundary.rs",
    "src/host.rs",
    "crates/pbx-host/src/loader.rs",
    "crates/plugin-abi/src/lib.rs",
];

/// Modules of sync-core whose functions are values in, values out.
const PURE: &[&str] = &[
    "person",
    "phone",
    "rules",
    "normalise",
    "matching",
    "claims",
    "merge",
    "numbering",
    "plan",
    "limits",
    "report",
    "previewed",
];

/// What a pure module may not name: input, output, clocks, chance, the log.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::io",
    "std::process",
    "std::thread",
    "std::env",
    "SystemTime",
    "Instant::now",
    "log::",
    "println!",
    "eprintln!",
    "rusqlite",
    "getrandom",
    "crate::journal",
    "crate::pbx::read",
    "crate::run",
];

/// The functions a PBX may call; nothing else is exported.
const HOOKS: &[&str] = &[
    "ldap_sync_abi_version",
    "ldap_sync_close",
    "ldap_sync_config_save",
    "ldap_sync_install",
    "ldap_sync_models_changed",
    "ldap_sync_open",
    "ldap_sync_request",
    "ldap_sync_uninstall",
    "ldap_sync_worker_tick",
];

#[test]
fn crates_depend_on_each_other_in_one_direction() {
    let mut metadata = Command::new("cargo");
    metadata.current_dir(root()).args(["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&run(&mut metadata)).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let own: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let known: BTreeSet<&str> = DEPENDENCIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(own, known, "the workspace's crates and the table of this test");
    for package in packages {
        let name = package["name"].as_str().expect("a package has a name");
        let allowed = DEPENDENCIES.iter().find(|(known, _)| *known == name).expect("checked above").1;
        let wanted = package["dependencies"].as_array().expect("a list of dependencies").iter();
        let wanted = wanted.filter(|dependency| dependency["kind"] != "dev").filter_map(|item| item["name"].as_str());
        for dependency in wanted.filter(|dependency| own.contains(dependency)) {
            assert!(allowed.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn unsafe_stands_at_the_boundary_only() {
    let word = Regex::new(r"\bunsafe\b").expect("a pattern");
    for (file, text) in sources() {
        if UNSAFE_FILES.contains(&file.as_str()) || file == THIS_FILE {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            assert!(!word.is_match(&code.replace("unsafe_code", "")), "{file}:{} holds unsafe code", number + 1);
        }
    }
}

#[test]
fn pure_modules_do_no_input_or_output() {
    for module in PURE {
        let files: Vec<(String, String)> = sources()
            .into_iter()
            .filter(|(file, _)| {
                let path = file.strip_prefix("crates/sync-core/src/").unwrap_or_default();
                path == format!("{module}.rs") || path.starts_with(&format!("{module}/"))
            })
            .collect();
        assert!(!files.is_empty(), "sync-core has no module {module}");
        for (file, text) in files {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                for word in IMPURE {
                    assert!(!names(line, word), "{file}:{} uses {word}, but {module} is pure", number + 1);
                }
            }
        }
    }
}

/// `word` not inside a longer name: `log::` is not in `catalog::`.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

#[test]
fn the_header_is_fresh() {
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        header: Some(HEADER_NOTE.to_owned()),
        include_guard: Some("LDAP_SYNC_H".to_owned()),
        cpp_compat: true,
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        after_includes: Some(HANDLE.to_owned()),
        usize_is_size_t: true,
        line_length: 120,
        documentation_style: cbindgen::DocumentationStyle::C99,
        export: cbindgen::ExportConfig {
            include: vec!["ldap_sync_status".to_owned()],
            // cbindgen would show the handle as a struct of size 0, which C does not have.
            exclude: vec!["ldap_sync_module".to_owned()],
            ..cbindgen::ExportConfig::default()
        },
        ..cbindgen::Config::default()
    };
    let source = root().join("crates/plugin-abi");
    let builder = cbindgen::Builder::new().with_crate(source).with_config(config);
    let mut made = Vec::new();
    builder.generate().expect("cbindgen reads plugin-abi").write(&mut made);
    let made = String::from_utf8(made).expect("cbindgen writes UTF-8");

    let file = root().join("include/ldap_sync.h");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(root().join("include")).expect("the directory of the header");
        fs::write(&file, &made).expect("the header");
    }
    let stored = fs::read_to_string(&file).unwrap_or_default();
    assert!(stored == made, "include/ldap_sync.h is stale: UPDATE_EXPECT=1 cargo test --test module the_header");
    for hook in HOOKS {
        assert!(made.contains(&format!("{hook}(")), "the header does not declare {hook}");
    }
}

const HEADER_NOTE: &str = "/* SPDX-License-Identifier: GPL-3.0-or-later */\n\
    /* The C ABI of ModuleLdapSync, between a PBX and the library.\n\
    \n   \
    UTF-8 JSON in and out. Every pointer is borrowed for the length of the call; no memory changes owner. Any thread\n   \
    may call a handle. Callbacks happen only during a call, possibly on a thread of the library, and must not call back\n   \
    in. The sink is called exactly once per hook, also for errors. The hooks return an ldap_sync_status.\n\
    \n   \
    Generated from crates/plugin-abi; edit that, then run\n   \
    UPDATE_EXPECT=1 cargo test --test module the_header */";

const HANDLE: &str = "\n// One open module: opaque, made by `ldap_sync_open`, ended by `ldap_sync_close`.\n\
    typedef struct ldap_sync_module ldap_sync_module;";

#[test]
fn the_library_exports_its_hooks_and_nothing_else() {
    let symbols = run(Command::new("nm").args(["--dynamic", "--defined-only", "--format=posix"]).arg(&built().library));
    let exported: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(exported, HOOKS.iter().copied().collect());
}

#[test]
fn one_version_everywhere() {
    let module: Value = serde_json::from_str(&read("module.json")).expect("module.json is JSON");
    let version = module["version"].as_str().expect("module.json has a version");
    assert_eq!(version, env!("CARGO_PKG_VERSION"), "module.json and Cargo.toml");
    assert_eq!(module["moduleUniqueID"], "ModuleLdapSync");
    for key in ["developer", "support_email", "min_pbx_version"] {
        assert!(module[key].as_str().is_some_and(|text| !text.is_empty()), "MikoPBX wants {key} in module.json");
    }
    assert!(read("CHANGELOG.md").contains(version), "CHANGELOG.md does not mention {version}");
}

#[test]
fn the_documents_name_what_there_is() {
    let readme = read("README.md");
    for command in ["cargo xtask demo", "cargo xtask test"] {
        assert!(readme.contains(command), "README.md does not give the command {command}");
    }
    let architecture = read("docs/ARCHITECTURE.md");
    for (name, _) in DEPENDENCIES {
        assert!(architecture.contains(name), "docs/ARCHITECTURE.md does not name the crate {name}");
    }
    for (file, _) in sources().into_iter().filter(|(file, _)| file.contains("src/")) {
        let path = Path::new(&file);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a source file has a name");
        let module = match stem {
            "lib" | "main" => continue,
            "mod" => {
                path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a directory has a name")
            }
            other => other,
        };
        assert!(names(&architecture, module), "docs/ARCHITECTURE.md does not name {module} ({file})");
    }
}

#[test]
fn every_word_of_the_page_is_translated() {
    let keys = |language: &str, forms: &[&str]| -> BTreeSet<String> {
        let files: Vec<PathBuf> =
            tracked().into_iter().filter(|file| file.ends_with(format!("{language}.json"))).collect();
        assert!(!files.is_empty(), "public/ has no {language}.json");
        let text = fs::read_to_string(root().join(&files[0])).expect("a tracked file");
        let mut words: BTreeMap<String, Value> = serde_json::from_str(&text).expect("translations are a JSON object");
        // English is the language of the library's sentences.
        let sentences = words.remove("sentences").and_then(|all| all.as_object().cloned()).unwrap_or_default();
        let blank: Vec<_> = words.iter().chain(&sentences).filter(|(_, word)| !is_translated(word, forms)).collect();
        assert!(blank.is_empty(), "blank translations in {language}: {blank:?}");
        words.into_keys().collect()
    };
    // The plural forms of the languages (CLDR).
    let (english, russian) = (keys("en", &["one", "other"]), keys("ru", &["one", "few", "many", "other"]));
    let missing: Vec<_> = english.symmetric_difference(&russian).collect();
    assert!(missing.is_empty(), "translated in one language only: {missing:?}");
}

#[test]
fn every_word_the_page_asks_for_exists() {
    let words: BTreeMap<String, Value> =
        serde_json::from_str(&read("public/assets/i18n/en.json")).expect("translations are a JSON object");
    // Keys put together at run time have no closing quote of the same kind before the first `${`.
    let asked = Regex::new(r#"\bt\(\s*(?:'([^']+)'|"([^"]+)"|`([^`$]+)`)"#).expect("a pattern");
    let mut found = 0;
    for file in
        tracked().into_iter().filter(|file| file.starts_with("public") && file.extension().is_some_and(|e| e == "js"))
    {
        let text = fs::read_to_string(root().join(&file)).expect("a tracked file can be read");
        for key in asked.captures_iter(&text).filter_map(|groups| groups.iter().skip(1).flatten().next()) {
            found += 1;
            assert!(words.contains_key(key.as_str()), "{} asks for {:?}", file.display(), key.as_str());
        }
    }
    assert!(found > 50, "only {found} words are asked for; does the page call its function otherwise?");
}

#[test]
fn every_action_is_documented() {
    let (code, document) = (read("src/actions.rs"), read("docs/ABI.md"));
    let table =
        code.split("const ACTIONS").nth(1).and_then(|rest| rest.split("];").next()).expect("the table of actions");
    let action = Regex::new(r#"\("([a-z-]+)","#).expect("a pattern");
    let actions: Vec<&str> =
        action.captures_iter(table).map(|groups| groups.get(1).expect("a name").as_str()).collect();
    assert!(actions.len() > 10, "the table of actions is not understood: {actions:?}");
    for action in actions {
        assert!(document.contains(&format!("[{action}](")), "docs/ABI.md does not name the action {action}");
    }
}

#[test]
fn migrations_are_numbered_and_their_tables_strict() {
    let mut files: Vec<PathBuf> = tracked().into_iter().filter(|file| file.starts_with("db")).collect();
    files.sort();
    let code = read("crates/sync-core/src/journal/migrations.rs");
    for (number, file) in (1..).zip(&files) {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a migration has a name");
        assert!(
            name.starts_with(&format!("{number:04}_")) && name.ends_with(".sql"),
            "{name} is not migration {number}"
        );
        assert!(code.contains(name), "{name} is not part of the library");
        let text = read(&file.display().to_string());
        let (made, strict) = (text.matches("CREATE TABLE").count(), text.matches("\n) STRICT").count());
        assert_eq!(made, strict, "{name} makes a table that is not STRICT");
    }
    assert!(!files.is_empty(), "there is no migration");
}

/// A text, or a text for every plural form.
fn is_translated(word: &Value, forms: &[&str]) -> bool {
    let text = |word: &Value| word.as_str().is_some_and(|text| !text.trim().is_empty());
    match word {
        Value::Object(plural) => {
            forms.len() == plural.len() && forms.iter().all(|form| plural.get(*form).is_some_and(text))
        }
        other => text(other),
    }
}

#[test]
fn nothing_depends_on_the_machine_it_was_written_on() {
    // Put together here so that this file does not hold what it looks for.
    let forbidden = [["/wo", "rk/"].concat(), ["sha", "red/"].concat(), ["/ro", "ot/"].concat()];
    for file in tracked() {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for words in &forbidden {
                assert!(!line.contains(words.as_str()), "{}:{} mentions {words}", file.display(), number + 1);
            }
        }
    }
}

#[test]
fn every_exception_from_a_lint_has_a_reason() {
    let exception = Regex::new(r"(?s)#!?\[(?:cfg_attr\([^\]]*?)?(?:allow|expect)\((.*?)\)\]").expect("a pattern");
    for (file, text) in sources() {
        if file == THIS_FILE {
            continue;
        }
        for found in exception.captures_iter(&text) {
            assert!(found[1].contains("reason"), "{file}: an exception without a reason: {}", &found[0]);
        }
    }
}

/// Every Rust file under version control, with its text.
fn sources() -> Vec<(String, String)> {
    let files = tracked().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files
        .map(|file| {
            let text = fs::read_to_string(root().join(&file)).expect("a tracked file can be read");
            (file.display().to_string(), text)
        })
        .collect()
}

/// Files under version control, or about to be; in a source archive, where there is no git, every file that git would
/// not ignore by our `.gitignore`.
pub(crate) fn tracked() -> Vec<PathBuf> {
    let mut list = Command::new("git");
    list.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    match list.output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8(output.stdout).expect("our file names are UTF-8");
            text.lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect()
        }
        _ => walk(Path::new("")),
    }
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).expect("a directory of the repository");
    let mut found = Vec::new();
    for entry in entries.map(|entry| entry.expect("an entry of a directory")) {
        let path = directory.join(entry.file_name());
        let name = entry.file_name();
        if root().join(&path).is_dir() {
            if !["target", ".git", "node_modules"].iter().any(|ignored| name == *ignored) {
                found.extend(walk(&path));
            }
        } else {
            found.push(path);
        }
    }
    found
}

/// A file of the repository.
pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
