//! The package for MikoPBX: what is in it, that the same sources give the same bytes, and that its binaries run on old
//! systems.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{have, package, root, run, run_unchecked};
use serde_json::{Value, json};

#[test]
fn the_package_holds_what_mikopbx_looks_for_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let zip = package::made();
    let names = package::names(zip);
    let tops: BTreeSet<&str> = names.iter().filter_map(|name| name.split('/').next()).collect();
    let wanted = ["App", "LICENSE", "Lib", "Messages", "Setup", "bin", "db", "module.json", "public"];
    assert_eq!(tops, BTreeSet::from(wanted), "{names:?}");
    let of =
        |top: &str| -> Vec<&str> { names.iter().map(String::as_str).filter(|name| name.starts_with(top)).collect() };
    assert_eq!(of("bin/"), ["bin/libmodule_ldap_sync.so", "bin/pbx-host"]);
    assert_eq!(of("db/"), ["db/README"], "an upgrade puts the old database there");
    assert_eq!(of("Messages/"), ["Messages/en.php", "Messages/ru.php"]);
    assert!(names.iter().all(|name| !name.contains("..") && !name.ends_with(".md")), "{names:?}");
    for class in ["Setup/PbxExtensionSetup", "Lib/LdapSyncConf", "App/Controllers/ModuleLdapSyncController"] {
        assert!(names.contains(&format!("{class}.php")), "{names:?}");
    }
    the_page_finds_its_parts(&names);
    let unpacked = directory.path().join("unpacked");
    package::unpack(zip, &unpacked);
    let module: Value = serde_json::from_str(&fs::read_to_string(unpacked.join("module.json")).expect("module.json"))
        .expect("module.json is JSON");
    assert_eq!((&module["moduleUniqueID"], &module["lic_product_id"]), (&json!("ModuleLdapSync"), &json!("0")));
    assert_eq!(module["version"], env!("CARGO_PKG_VERSION"));
}

/// Every script that a script of the page asks for is packed, and every language it knows.
fn the_page_finds_its_parts(names: &[String]) {
    let scripts = format!("public/assets/js/{}", env!("CARGO_PKG_VERSION"));
    for name in
        ["mikopbx.js", "main.js", "api.js", "views/settings.js", "i18n/en.json", "i18n/ru.json", "i18n/languages.json"]
    {
        assert!(names.contains(&format!("{scripts}/{name}")), "{name} is missing in {names:?}");
    }
    assert!(
        names.contains(&"public/assets/css/ldap-sync.css".to_owned())
            && names.contains(&"public/assets/img/icon.svg".to_owned())
    );
}

#[test]
fn the_same_sources_give_the_same_bytes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [first, second] =
        [package::made(), &package::make_in(directory.path())].map(|zip| fs::read(zip).expect("a zip"));
    assert!(first == second, "two packages of the same sources differ");
}

#[test]
fn words_for_mikopbx_are_the_pages_words() {
    if !have("PHP", &["php"], false) {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    package::unpack(package::made(), directory.path());
    for language in ["en", "ru"] {
        let file = directory.path().join(format!("Messages/{language}.php"));
        let php = run(Command::new("php").args(["-r", "echo json_encode(require $argv[1]);"]).arg(file));
        let messages: serde_json::Map<String, Value> = serde_json::from_str(&php).expect("PHP writes JSON");
        let source = fs::read_to_string(root().join(format!("public/assets/i18n/{language}.json"))).expect("words");
        let words: serde_json::Map<String, Value> = serde_json::from_str(&source).expect("words are JSON");
        let expected: serde_json::Map<String, Value> = words
            .into_iter()
            .filter_map(|(key, word)| Some((key.strip_prefix("mikopbx.")?.to_owned(), word)))
            .collect();
        assert_eq!(messages, expected);
        for key in ["BreadcrumbModuleLdapSync", "SubHeaderModuleLdapSync", "mo_ModuleLdapSync", "repModuleLdapSync"] {
            assert!(messages.contains_key(key), "MikoPBX asks for {key}");
        }
    }
}

/// The package for old systems, not optimised. `cargo xtask test` brings the linker.
#[test]
fn the_binaries_run_on_old_systems_and_name_no_path_of_this_machine() {
    let brought = root().join("target/zig/venv/bin/cargo-zigbuild").is_file();
    let wanted = ["python3", "objdump", "cargo-zigbuild"];
    if !have("the linker for old systems", if brought { &wanted[..2] } else { &wanted }, false) {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let printed = package::make(&["--output", directory.path().to_str().expect("a path")]);
    let zip = directory.path().join(format!("ModuleLdapSync-{}.zip", env!("CARGO_PKG_VERSION")));
    println!("{printed}");
    package::unpack(&zip, directory.path());
    for name in ["bin/pbx-host", "bin/libmodule_ldap_sync.so"] {
        let file = directory.path().join(name);
        let newest = newest_glibc(&file);
        assert!(newest <= vec![2, 31], "{name} needs glibc {newest:?}");
        let bytes = fs::read(&file).expect("a binary");
        for place in [root().to_str(), option_env!("HOME")].into_iter().flatten().filter(|place| place.len() > 3) {
            let found = bytes.windows(place.len()).any(|window| window == place.as_bytes());
            assert!(!found, "{name} names {place}");
        }
    }
    run(Command::new("chmod").arg("755").arg(directory.path().join("bin/pbx-host")));
    let program = directory.path().join("bin/pbx-host");
    let opened = run_unchecked(
        Command::new(program)
            .arg("--module-dir")
            .arg(directory.path())
            .args(["--pbx-database", "/nonexistent"])
            .args(["--media-dir", "/nonexistent", "request", "get-actions"]),
        "",
    );
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
}

/// The newest version of glibc among the symbols a binary asks for, as binutils tells it.
fn newest_glibc(file: &Path) -> Vec<u32> {
    let symbols = run(Command::new("objdump").arg("-T").arg(file));
    let versions = symbols.split(|c: char| c.is_whitespace() || c == '(' || c == ')');
    let versions = versions.filter_map(|word| word.strip_prefix("GLIBC_"));
    versions
        .map(|version| version.split('.').map(|part| part.parse().expect("a number")).collect())
        .max()
        .expect("symbols of glibc")
}
