//! What stands in the package, and where it comes from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::binaries::Binaries;
use super::words;

/// One file of the package.
pub(crate) struct Entry {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether it is a program.
    pub(crate) executable: bool,
}

/// Files by their path in the package.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// What an upgrade puts the old database over.
const PLACEHOLDER: &str = "db/README";

const PLACEHOLDER_TEXT: &str =
    "The module's database stands here; MikoPBX keeps this directory when the module is upgraded.\n";

/// Collects the package of the repository at `root`.
///
/// The page's scripts and words stand in a directory named after the version, because browsers keep MikoPBX's static
/// files for days and a script asks for the others by their names.
pub(crate) fn collect(root: &Path, version: &str, binaries: &Binaries) -> anyhow::Result<Entries> {
    let mut entries = Entries::new();
    for name in ["module.json", "LICENSE"] {
        add(&mut entries, name, &root.join(name), false)?;
    }
    for directory in ["Setup", "Lib", "App"] {
        add_tree(&mut entries, &root.join("mikopbx").join(directory), directory)?;
    }
    let public = root.join("public/assets");
    add_tree(&mut entries, &public.join("img"), "public/assets/img")?;
    add(&mut entries, "public/assets/css/ldap-sync.css", &public.join("css/ldap-sync.css"), false)?;
    let scripts = format!("public/assets/js/{version}");
    add_tree(&mut entries, &public.join("js"), &scripts)?;
    add_tree(&mut entries, &public.join("i18n"), &format!("{scripts}/i18n"))?;
    let languages = languages(&public.join("i18n"))?;
    let listed = serde_json::to_vec(&languages).context("languages are texts")?;
    insert(&mut entries, &format!("{scripts}/i18n/languages.json"), listed, false)?;
    let own = root.join("mikopbx/public/assets/js");
    add(&mut entries, &format!("{scripts}/mikopbx.js"), &own.join("mikopbx.js"), false)?;
    add(&mut entries, "public/assets/js/employees.js", &own.join("employees.js"), false)?;
    add_messages(&mut entries, &public.join("i18n"))?;
    insert(&mut entries, PLACEHOLDER, PLACEHOLDER_TEXT.into(), false)?;
    add(&mut entries, "bin/pbx-host", &binaries.program, true)?;
    add(&mut entries, "bin/libmodule_ldap_sync.so", &binaries.library, false)?;
    Ok(entries)
}

/// The codes of the page's languages: one file each.
fn languages(words: &Path) -> anyhow::Result<Vec<String>> {
    let code = |file: PathBuf| file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let codes = files(words)?.into_iter().map(code).collect::<Option<_>>();
    codes.context("a language is named in UTF-8")
}

fn add_messages(entries: &mut Entries, words: &Path) -> anyhow::Result<()> {
    for file in files(words)? {
        let language = file.file_stem().and_then(|stem| stem.to_str()).context("a language is named in UTF-8")?;
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let php = words::messages(&text).with_context(|| file.display().to_string())?;
        insert(entries, &format!("Messages/{language}.php"), php.into(), false)?;
    }
    Ok(())
}

fn add_tree(entries: &mut Entries, from: &Path, to: &str) -> anyhow::Result<()> {
    let found = files(from)?;
    ensure!(!found.is_empty(), "{} is empty", from.display());
    for file in found {
        let name = file.strip_prefix(from)?.to_str().context("our file names are UTF-8")?.to_owned();
        add(entries, &format!("{to}/{name}"), &file, false)?;
    }
    Ok(())
}

fn add(entries: &mut Entries, name: &str, file: &Path, executable: bool) -> anyhow::Result<()> {
    let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    insert(entries, name, bytes, executable)
}

fn insert(entries: &mut Entries, name: &str, bytes: Vec<u8>, executable: bool) -> anyhow::Result<()> {
    // MikoPBX refuses a package that has two points in a row anywhere in a name.
    ensure!(!name.contains(".."), "MikoPBX refuses the name {name}");
    ensure!(entries.insert(name.to_owned(), Entry { bytes, executable }).is_none(), "{name} would be packed twice");
    Ok(())
}

/// Every file below a directory, sorted.
fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))?;
    let mut paths = listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_twice_or_with_two_points_is_refused() {
        let mut entries = Entries::new();
        insert(&mut entries, "a", Vec::new(), false).expect("the first");
        assert!(insert(&mut entries, "a", Vec::new(), false).is_err());
        assert!(insert(&mut entries, "b..c", Vec::new(), false).is_err());
    }

    #[test]
    fn files_of_all_depths_are_found_in_order() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("b")).expect("a directory");
        for name in ["c", "b/z", "a"] {
            fs::write(directory.path().join(name), name).expect("a file");
        }
        let found = files(directory.path()).expect("files");
        let names: Vec<_> = found.iter().map(|path| path.strip_prefix(directory.path()).expect("below")).collect();
        assert_eq!(names, [Path::new("a"), Path::new("b/z"), Path::new("c")]);
    }
}
